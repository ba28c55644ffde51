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

// A Bus is a private D-Bus session bus. It starts no service but those that
// Serve names.
type Bus struct {
	Address string
	Dir     string   // its own; services may keep their home in it
	Environ []string // to add to the environment of its clients

	*daemon
}

// busConfig lets everybody who can reach the socket do everything, as on a
// user's own bus.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%[1]s/bus</listen>
  <servicedir>%[1]s/services</servicedir>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// StartBus starts a bus whose files are in a directory, whose path must be
// short enough for a socket. ctx limits the start only. If dbus-daemon is not
// installed it returns a *MissingError.
func StartBus(ctx context.Context, dir string) (*Bus, error) {
	path, err := find("dbus-daemon")
	if err != nil {
		return nil, err
	}
	if len(dir) > 100 {
		return nil, fmt.Errorf("%s is too long for a socket", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "services"), 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, dir), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog", "--print-address")
	cmd.Env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := logTo(cmd, filepath.Join(dir, "bus.log")); err != nil {
		return nil, err
	}
	d, err := start(cmd)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, d.stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		d.stop()
		return nil, fmt.Errorf("dbus-daemon said no address: %w", err)
	}
	address := strings.TrimSpace(line)
	return &Bus{
		Address: address,
		Dir:     dir,
		Environ: []string{"DBUS_SESSION_BUS_ADDRESS=" + address},
		daemon:  d,
	}, nil
}

// Serve makes the bus start a command, a path and its arguments, when somebody
// calls a name that nobody owns.
func (b *Bus) Serve(name, command string) error {
	text := fmt.Sprintf("[D-BUS Service]\nName=%s\nExec=%s\n", name, command)
	if err := os.WriteFile(filepath.Join(b.Dir, "services", name+".service"), []byte(text), 0o600); err != nil {
		return err
	}
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.BusObject().Call("org.freedesktop.DBus.ReloadConfig", 0).Err
}

// Stop ends the bus, and with it the services that end with their bus.
func (b *Bus) Stop() { b.stop() }
