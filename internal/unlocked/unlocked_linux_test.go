package unlocked_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kura/internal/unlocked"
)

func TestMain(m *testing.M) {
	if name := os.Getenv("TEST_NAMESPACE"); name != "" {
		helper(name)
		return
	}
	os.Exit(m.Run())
}

// helper is what this test does as another process: it joins a new session, as
// a login by ssh or a service of systemd does, reads what the test has put,
// and puts something for the test.
func helper(namespace string) {
	runtime.LockOSThread()
	if os.Getenv("TEST_NEW_SESSION") != "" {
		if _, err := unix.KeyctlJoinSessionKeyring(namespace); err != nil {
			fmt.Print("new session: ", err)
			return
		}
	}
	k := unlocked.Open(namespace)
	data, ok := k.Get("from test")
	fmt.Printf("%q %t %v", data, ok, k.Put("from helper", []byte("pong"), time.Minute))
}

func TestOtherProcesses(t *testing.T) {
	for _, env := range []string{"TEST_NEW_SESSION=", "TEST_NEW_SESSION=1"} {
		t.Run(env, func(t *testing.T) {
			namespace := namespace(t)
			k := unlocked.Open(namespace)
			if err := k.Works(); err != nil {
				t.Skip("nothing can be kept here: ", err)
			}
			put(t, k, "from test", "ping")
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TEST_NAMESPACE="+namespace, env)
			out, err := cmd.CombinedOutput()
			if got, want := string(out), `"ping" true <nil>`; err != nil || got != want {
				t.Errorf("the other process says %s, %v, want %s", got, err, want)
			}
			want(t, k, "from helper", "pong", true)
		})
	}
}

// Another user must not read a secret, and one who may not use keyrings must
// see no error.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	exe, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "") // t.TempDir's parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/helper", exe, 0o755); err != nil {
		t.Fatal(err)
	}
	namespace := namespace(t)
	k := unlocked.Open(namespace)
	put(t, k, "from test", "ping")
	cmd := exec.Command(dir + "/helper")
	cmd.Dir = dir
	cmd.Env = []string{"TEST_NAMESPACE=" + namespace}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if got, want := string(out), `"" false <nil>`; err != nil || got != want {
		t.Errorf("another user sees %s, %v, want %s", got, err, want)
	}
	want(t, k, "from helper", "", false)
}

// Only processes that possess the key, by asking for the user's persistent
// keyring, may even see it.
func TestPermissions(t *testing.T) {
	namespace := namespace(t)
	k := unlocked.Open(namespace)
	if err := k.Works(); err != nil {
		t.Skip("nothing can be kept here: ", err)
	}
	put(t, k, "a", "secret")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, -1, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := unix.KeyctlSearch(ring, "user", "kura:"+namespace+":a", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
	if fields := strings.Split(got, ";"); err != nil || fields[3] != "3f000000" {
		t.Errorf("the key is %s, %v, want the permissions 3f000000", got, err)
	}
}

func TestSecretsEnd(t *testing.T) {
	k := open(t)
	start := time.Now()
	if err := k.Put("a", []byte("secret"), 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	want(t, k, "a", "secret", true)
	for range time.Tick(10 * time.Millisecond) {
		if _, ok := k.Get("a"); !ok {
			break
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("a secret kept for 1.5 seconds is there after 5")
		}
	}
	put(t, k, "a", "again") // an expired key must not be in the way
	want(t, k, "a", "again", true)
}
