package live

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godbus/dbus/v5"
)

// A GnomeKeyring is a gnome-keyring-daemon on a bus of its own. The collection
// "login", if it has one, has the password Password.
type GnomeKeyring struct {
	*Bus
	Process *os.Process // of the daemon, to be stopped and killed

	daemon *daemon
	conn   *dbus.Conn
}

// Password is that of what this package makes with one.
const Password = "correct horse battery staple"

// StartGnomeKeyring starts gnome-keyring with its files in a directory: with an
// unlocked default collection "login", as after the login to a desktop, or with
// none. Its windows go to the display that ShowOn names, at first to none. If
// one of the programs is not installed it returns a *MissingError.
func StartGnomeKeyring(ctx context.Context, dir string, login bool) (*GnomeKeyring, error) {
	bus, err := StartBus(ctx, dir)
	if err != nil {
		return nil, err
	}
	g := &GnomeKeyring{Bus: bus}
	if err := g.start(ctx, login); err != nil {
		g.Stop()
		return nil, err
	}
	return g, nil
}

func (g *GnomeKeyring) start(ctx context.Context, login bool) error {
	var err error
	if g.conn, err = dbus.Connect(g.Address); err != nil {
		return err
	}
	prompter := "/usr/libexec/gcr-prompter"
	if _, err := os.Stat(prompter); err != nil {
		return &MissingError{"gcr-prompter"}
	}
	if err := g.Serve("org.gnome.keyring.SystemPrompter", prompter); err != nil {
		return err
	}
	return g.startDaemon(ctx, login)
}

func (g *GnomeKeyring) startDaemon(ctx context.Context, login bool) error {
	path, err := find("gnome-keyring-daemon")
	if err != nil {
		return err
	}
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + filepath.Join(g.Dir, "control")}
	if login {
		args = append(args, "--unlock")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"HOME=" + g.Dir, "XDG_DATA_HOME=" + g.Dir, "XDG_RUNTIME_DIR=" + g.Dir, "PATH=" + os.Getenv("PATH")}, g.Environ...)
	cmd.Stdin = strings.NewReader(Password)
	if err := logTo(cmd, filepath.Join(g.Dir, "gnome-keyring.log")); err != nil {
		return err
	}
	if g.daemon, err = start(cmd); err != nil {
		return err
	}
	g.Process = cmd.Process
	return g.daemon.until(ctx, func() bool {
		var owned bool
		err := g.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&owned)
		return err == nil && owned
	})
}

// Restart ends the daemon and starts another one with the same files, so that
// all collections are locked.
func (g *GnomeKeyring) Restart(ctx context.Context) error {
	g.daemon.stop()
	return g.startDaemon(ctx, false)
}

// Make makes a collection with a label and the password Password, and returns
// its path. An alias, such as "default", may be "".
func (g *GnomeKeyring) Make(ctx context.Context, label, alias string) (dbus.ObjectPath, error) {
	master, err := g.password(ctx, Password)
	if err != nil {
		return "", err
	}
	var path dbus.ObjectPath
	properties := map[string]dbus.Variant{"org.freedesktop.Secret.Collection.Label": dbus.MakeVariant(label)}
	err = g.call(ctx, "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.CreateWithMasterPassword", properties, master).Store(&path)
	if err != nil || alias == "" {
		return path, err
	}
	return path, g.call(ctx, "org.freedesktop.Secret.Service.SetAlias", alias, path).Err
}

// Lock locks a collection.
func (g *GnomeKeyring) Lock(ctx context.Context, collection dbus.ObjectPath) error {
	return g.call(ctx, "org.freedesktop.Secret.Service.Lock", []dbus.ObjectPath{collection}).Err
}

// Unlock unlocks a collection.
func (g *GnomeKeyring) Unlock(ctx context.Context, collection dbus.ObjectPath) error {
	master, err := g.password(ctx, Password)
	if err != nil {
		return err
	}
	return g.call(ctx, "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", collection, master).Err
}

// password returns a password as the service takes it on a bus of its own: in
// the clear.
func (g *GnomeKeyring) password(ctx context.Context, password string) (any, error) {
	type secret struct {
		Session           dbus.ObjectPath
		Parameters, Value []byte
		ContentType       string
	}
	var output dbus.Variant
	var session dbus.ObjectPath
	err := g.call(ctx, "org.freedesktop.Secret.Service.OpenSession", "plain", dbus.MakeVariant("")).Store(&output, &session)
	return secret{session, []byte{}, []byte(password), "text/plain"}, err
}

func (g *GnomeKeyring) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return g.conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets").CallWithContext(ctx, method, 0, args...)
}

// ShowOn makes the service open its windows on a display.
func (g *GnomeKeyring) ShowOn(ctx context.Context, display string) error {
	return g.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.UpdateActivationEnvironment", 0,
		map[string]string{"DISPLAY": display}).Err
}

// Stop ends the service and its bus.
func (g *GnomeKeyring) Stop() {
	if g.daemon != nil {
		g.daemon.stop()
	}
	if g.conn != nil {
		g.conn.Close()
	}
	g.Bus.Stop()
}

// A Display is an X server whose screen nobody sees.
type Display struct {
	Name    string   // such as ":5"
	Environ []string // to add to the environment of its clients

	*daemon
}

// StartDisplay starts an X server. If Xvfb is not installed it returns a
// *MissingError.
func StartDisplay(ctx context.Context, dir string) (*Display, error) {
	path, err := find("Xvfb")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := logTo(cmd, filepath.Join(dir, "Xvfb.log")); err != nil {
		return nil, err
	}
	d, err := start(cmd)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, d.stop)
	number, err := bufio.NewReader(out).ReadString('\n')
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		d.stop()
		return nil, fmt.Errorf("Xvfb said no number: %w", err)
	}
	name := ":" + strings.TrimSpace(number)
	return &Display{name, []string{"DISPLAY=" + name}, d}, nil
}

// Type types a text and then Return into the window in the middle of the
// screen. If xdotool is not installed it returns a *MissingError.
func (d *Display) Type(ctx context.Context, text string) error {
	path, err := find("xdotool")
	if err != nil {
		return err
	}
	// There is no window manager: the focus follows the mouse.
	cmd := exec.CommandContext(ctx, path, "search", "--sync", "--onlyvisible", "--name", ".",
		"mousemove", "512", "384", "sleep", "0.2", "type", "--delay", "30", text)
	cmd.Env = append(os.Environ(), d.Environ...)
	if err := cmd.Run(); err != nil {
		return err
	}
	cmd = exec.CommandContext(ctx, path, "key", "Return")
	cmd.Env = append(os.Environ(), d.Environ...)
	return cmd.Run()
}

// Stop ends the X server.
func (d *Display) Stop() { d.stop() }
