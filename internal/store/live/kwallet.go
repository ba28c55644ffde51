package live

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// A KWallet is KDE's kwalletd5 on a bus of its own. Its wallets have the
// password Password. It writes them to disk some seconds after a change, or
// when it is asked to.
type KWallet struct {
	*Bus
	Process *os.Process // of the daemon, to be stopped and killed

	daemon  *daemon
	conn    *dbus.Conn
	windows []string // the environment that says where they are shown
}

const kwalletName = "org.kde.kwalletd5"

// StartKWallet starts kwalletd5 with its files in a directory, and with an open
// wallet "kdewallet", as after the login to a desktop. Its windows are shown
// nowhere. If one of the programs is not installed it returns a *MissingError.
func StartKWallet(ctx context.Context, dir string) (*KWallet, error) {
	bus, err := StartBus(ctx, dir)
	if err != nil {
		return nil, err
	}
	k := &KWallet{Bus: bus, windows: []string{"QT_QPA_PLATFORM=offscreen"}}
	if err := k.start(ctx); err != nil {
		k.Stop()
		return nil, err
	}
	return k, nil
}

func (k *KWallet) start(ctx context.Context) error {
	var err error
	if k.conn, err = dbus.Connect(k.Address); err != nil {
		return err
	}
	if err := k.configure("Enabled=true"); err != nil {
		return err
	}
	if err := k.startDaemon(ctx); err != nil {
		return err
	}
	return k.OpenWallet(ctx, "kdewallet")
}

func (k *KWallet) startDaemon(ctx context.Context) error {
	path, err := find("kwalletd5")
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.Env = append([]string{"HOME=" + k.Dir, "XDG_RUNTIME_DIR=" + k.Dir, "PATH=" + os.Getenv("PATH")}, k.Environ...)
	cmd.Env = append(cmd.Env, k.windows...)
	if err := logTo(cmd, filepath.Join(k.Dir, "kwalletd5.log")); err != nil {
		return err
	}
	if k.daemon, err = start(cmd); err != nil {
		return err
	}
	k.Process = cmd.Process
	return k.daemon.until(ctx, func() bool {
		var enabled bool
		err := k.call(ctx, "isEnabled").Store(&enabled)
		return err == nil
	})
}

// configure writes kwalletrc. A line of it is given, the others keep the daemon
// from asking more than for passwords.
func (k *KWallet) configure(line string) error {
	dir := filepath.Join(k.Dir, ".config")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text := "[Wallet]\nFirst Use=false\nPrompt on Open=false\nLaunch Manager=false\nLeave Open=true\n" +
		"Use One Wallet=true\nDefault Wallet=kdewallet\n" + line + "\n"
	return os.WriteFile(filepath.Join(dir, "kwalletrc"), []byte(text), 0o600)
}

// Configure replaces a line of kwalletrc, such as "Enabled=false", and has the
// daemon read it.
func (k *KWallet) Configure(ctx context.Context, line string) error {
	if err := k.configure(line); err != nil {
		return err
	}
	return k.call(ctx, "reconfigure").Err
}

// Restart kills the daemon and starts another one with the same files, so that
// all wallets are shut.
func (k *KWallet) Restart(ctx context.Context) error {
	k.daemon.stop()
	return k.startDaemon(ctx)
}

// OpenWallet opens a wallet as the login to a desktop does, and makes it if it
// is not there.
func (k *KWallet) OpenWallet(ctx context.Context, name string) error {
	// The daemon takes what its PAM module makes of a password and of a salt,
	// which it looks for beside the wallet if the password is typed
	// (https://invent.kde.org/plasma/kwallet-pam/-/blob/master/pam_kwallet.c).
	dir := filepath.Join(k.Dir, ".local/share/kwalletd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".salt"), make([]byte, saltSize), 0o600); err != nil {
		return err
	}
	hash, err := passwordHash()
	if err != nil {
		return err
	}
	if err := k.call(ctx, "pamOpen", name, hash, int32(0)).Err; err != nil {
		return err
	}
	var open bool
	if err := k.call(ctx, "isOpen", name).Store(&open); err != nil {
		return err
	}
	if !open {
		return fmt.Errorf("the wallet %q did not open", name)
	}
	return nil
}

const saltSize = 56

// passwordHash is that of Password with a salt of zeros. It takes a while.
var passwordHash = sync.OnceValues(func() ([]byte, error) {
	return pbkdf2.Key(sha512.New, Password, make([]byte, saltSize), 50000, 56)
})

// CloseWallet shuts a wallet, whoever uses it.
func (k *KWallet) CloseWallet(ctx context.Context, name string) error {
	return k.call(ctx, "close", name, true).Err
}

// ShowOn makes the daemon open its windows on a display. It is started anew.
func (k *KWallet) ShowOn(ctx context.Context, d *Display) error {
	k.windows = append([]string{"QT_QPA_PLATFORM=xcb"}, d.Environ...)
	return k.Restart(ctx)
}

// Answer types a password into the daemon's window as soon as it is shown on a
// display, and presses Return; with no password it presses Escape. If xdotool
// is not installed it returns a *MissingError.
func (k *KWallet) Answer(ctx context.Context, d *Display, password string) error {
	path, err := find("xdotool")
	if err != nil {
		return err
	}
	xdotool := func(script string) error {
		cmd := exec.CommandContext(ctx, path, "-")
		cmd.Stdin = strings.NewReader(script)
		cmd.Env = append(os.Environ(), d.Environ...)
		return cmd.Run()
	}
	// A window can't have the focus as soon as it is there.
	err = k.daemon.until(ctx, func() bool {
		return xdotool("search --onlyvisible --name 'KDE Wallet'\nwindowfocus --sync\n") == nil
	})
	switch {
	case err != nil:
		return err
	case password == "":
		return xdotool("key Escape\n")
	}
	return xdotool("type '" + password + "'\nkey Return\n")
}

func (k *KWallet) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return k.conn.Object(kwalletName, "/modules/kwalletd5").CallWithContext(ctx, "org.kde.KWallet."+method, 0, args...)
}

// Stop ends the service and its bus.
func (k *KWallet) Stop() {
	if k.daemon != nil {
		k.daemon.stop()
	}
	if k.conn != nil {
		k.conn.Close()
	}
	k.Bus.Stop()
}
