package live

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godbus/dbus/v5"
)

// A KeePassXC is a KeePassXC without a screen on a bus of its own. Its Secret
// Service shows one database, which has the password Password, as the default
// collection.
type KeePassXC struct {
	*Bus

	daemon *daemon
	conn   *dbus.Conn
	path   string // of the database
}

// keepassxcConfig makes it ask nothing, as nobody could answer. Version 2.7.4
// dies of some thirty changes in a second if it saves each of them, so it saves
// none.
const keepassxcConfig = `[General]
ConfigVersion=2
UpdateCheckMessageShown=true
AutoSaveAfterEveryChange=false
[GUI]
CheckForUpdates=false
[FdoSecrets]
Enabled=true
ShowNotification=false
ConfirmAccessItem=false
ConfirmDeleteItem=false
NoConfirmDeleteItem=true
`

// keepassxcDatabase is a database of which all is shown by the Secret Service.
const keepassxcDatabase = `<?xml version="1.0" encoding="UTF-8"?>
<KeePassFile>
  <Meta>
    <CustomData>
      <Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{00112233-4455-6677-8899-aabbccddeeff}</Value></Item>
    </CustomData>
  </Meta>
  <Root><Group><UUID>ABEiM0RVZneImaq7zN3u/w==</UUID><Name>Root</Name></Group></Root>
</KeePassFile>
`

// StartKeePassXC starts KeePassXC with its files in a directory. If it is not
// installed it returns a *MissingError.
func StartKeePassXC(ctx context.Context, dir string) (*KeePassXC, error) {
	program, err := find("keepassxc")
	if err != nil {
		return nil, err
	}
	cli, err := find("keepassxc-cli")
	if err != nil {
		return nil, err
	}
	bus, err := StartBus(ctx, dir)
	if err != nil {
		return nil, err
	}
	k := &KeePassXC{Bus: bus, path: filepath.Join(dir, "passwords.kdbx")}
	if err := k.start(ctx, program, cli); err != nil {
		k.Stop()
		return nil, err
	}
	return k, nil
}

func (k *KeePassXC) start(ctx context.Context, program, cli string) error {
	config, xml := filepath.Join(k.Dir, "keepassxc.ini"), filepath.Join(k.Dir, "passwords.xml")
	if err := os.WriteFile(config, []byte(keepassxcConfig), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(xml, []byte(keepassxcDatabase), 0o600); err != nil {
		return err
	}
	environ := append([]string{"HOME=" + k.Dir, "XDG_RUNTIME_DIR=" + k.Dir, "TMPDIR=" + k.Dir, "PATH=" + os.Getenv("PATH"),
		"LC_ALL=C.UTF-8", "QT_QPA_PLATFORM=offscreen"}, k.Environ...)
	create := exec.CommandContext(ctx, cli, "import", "--quiet", "--set-password", "--decryption-time", "100", xml, k.path)
	create.Env = environ
	create.Stdin = strings.NewReader(Password + "\n" + Password + "\n")
	if err := create.Run(); err != nil {
		return err
	}
	cmd := exec.Command(program, "--config", config, "--localconfig", filepath.Join(k.Dir, "local.ini"), "--pw-stdin", k.path)
	cmd.Env = environ
	cmd.Stdin = strings.NewReader(Password + "\n")
	if err := logTo(cmd, filepath.Join(k.Dir, "keepassxc.log")); err != nil {
		return err
	}
	var err error
	if k.daemon, err = start(cmd); err != nil {
		return err
	}
	if k.conn, err = dbus.Connect(k.Address); err != nil {
		return err
	}
	return k.daemon.until(ctx, func() bool {
		locked := dbus.MakeVariant(true)
		err := k.conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets/aliases/default").
			CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.Secret.Collection", "Locked").Store(&locked)
		return err == nil && locked.Value() == false
	})
}

// Lock locks the database.
func (k *KeePassXC) Lock(ctx context.Context) error {
	return k.window().CallWithContext(ctx, "org.keepassxc.KeePassXC.MainWindow.lockAllDatabases", 0).Err
}

// Unlock unlocks the database.
func (k *KeePassXC) Unlock(ctx context.Context) error {
	return k.window().CallWithContext(ctx, "org.keepassxc.KeePassXC.MainWindow.openDatabase", 0, k.path, Password).Err
}

func (k *KeePassXC) window() dbus.BusObject {
	return k.conn.Object("org.keepassxc.KeePassXC.MainWindow", "/keepassxc")
}

// Stop ends the program and its bus.
func (k *KeePassXC) Stop() {
	if k.daemon != nil {
		k.daemon.stop()
	}
	if k.conn != nil {
		k.conn.Close()
	}
	k.Bus.Stop()
}
