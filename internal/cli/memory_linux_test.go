package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// rssFile returns how many KiB of files this process has in memory.
func rssFile(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Skip("the system does not say what of files is in memory")
	}
	return kib
}

func TestForgetPages(t *testing.T) {
	before := rssFile(t)
	forgetPages()
	if after := rssFile(t); after > before*3/4 {
		t.Errorf("%d KiB of files are in memory, and %d were before", after, before)
	}
}
