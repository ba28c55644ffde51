package mfa

import (
	"context"
	"slices"
	"strings"

	"kura/internal/store/program"
)

// ykman has a YubiKey make the code.
func (p *Prompt) ykman(ctx context.Context, serial string) (string, error) {
	var args []string
	if device := program.Getenv(p.Environ, "YKMAN_OATH_DEVICE_SERIAL"); device != "" {
		args = append(args, "--device", device)
	}
	args = append(args, "oath")
	switch program.Getenv(p.Environ, "AWS_VAULT_YKMAN_VERSION") {
	case "1", "2", "3":
	default:
		args = append(args, "accounts")
	}
	args = append(args, "code", "--single")
	return p.made(ctx, p.Environ, append(args, p.account(serial, "YKMAN_OATH_CREDENTIAL_NAME")...)...)
}

// pass makes the code of what is in a password store, with the extension otp.
func (p *Prompt) pass(ctx context.Context, serial string) (string, error) {
	environ := p.Environ
	if p.TTY != "" && !p.Apart && program.Getenv(environ, "GPG_TTY") == "" {
		environ = append(slices.Clip(environ), "GPG_TTY="+p.TTY)
	}
	return p.made(ctx, environ, append([]string{"otp"}, p.account(serial, "PASS_OATH_CREDENTIAL_NAME")...)...)
}

// account returns the arguments that say which account of the program is the
// device. A serial is no option, whatever it begins with.
func (p *Prompt) account(serial, variable string) []string {
	name := program.Getenv(p.Environ, variable)
	if name == "" {
		name = serial
	}
	if strings.HasPrefix(name, "-") {
		return []string{"--", name}
	}
	return []string{name}
}

func (p *Prompt) made(ctx context.Context, environ []string, args ...string) (string, error) {
	r, err := p.run(ctx, environ, nil, args...)
	if err != nil {
		return "", err
	}
	if r.Code != 0 {
		return "", failure(r)
	}
	return string(r.Stdout), nil
}

// waiting says what may be the matter with a program that takes its time.
func (p *Prompt) waiting() string {
	if p.Name == "ykman" {
		return "waiting for ykman: if the YubiKey blinks, touch it"
	}
	return "waiting for pass"
}
