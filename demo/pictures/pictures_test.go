//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kura/internal/width"
)

// TestPictures checks that docs/pictures shows what kura shows.
func TestPictures(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not here to build the program")
	}
	if _, err := time.LoadLocation(morning(time.Now())); err != nil {
		t.Skip("there are no time zones here, so the pictures might have dates")
	}
	module := filepath.Join("..", "..")
	drawn, err := draw(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pictures {
		want, err := os.ReadFile(filepath.Join(module, "docs", "pictures", p.name+".svg"))
		if err != nil || !bytes.Equal(drawn[p.name], want) {
			t.Errorf("docs/pictures/%s.svg is out of date; \"make pictures\" draws it anew", p.name)
		}
		d := xml.NewDecoder(bytes.NewReader(drawn[p.name]))
		for err = error(nil); err == nil; _, err = d.Token() {
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s.svg is not XML: %v", p.name, err)
		}
	}
}

func TestParse(t *testing.T) {
	lines := parse("\x1b[1m経理\x1b[0m-a \x1b[32m██░\x1b[0m 5m\r\n\r\n│ x\r\n")
	var b strings.Builder
	for _, line := range lines {
		for _, p := range line {
			b.WriteString(p.style + "@" + string(rune('0'+p.column)) + "=" + p.text + ";")
			if width.Of(p.text)%width.Of(string([]rune(p.text)[0])) != 0 {
				t.Errorf("%q has characters of several widths", p.text)
			}
		}
		b.WriteString("|")
	}
	want := "1@0=経理;@4=-a ;32@7=██░;@:= 5m;||@0=│;@1= x;|"
	if got := b.String(); got != want {
		t.Errorf("parse = %q, want %q", got, want)
	}
}

func TestAtOneTime(t *testing.T) {
	got := atOneTime("\x1b[32m7h59m left, until 23:59\x1b[0m, 59m left, until 02:01; in 7h54m")
	want := "\x1b[32m7h59m left, until 17:30\x1b[0m, 59m left, until 10:30; in 7h54m"
	if got != want {
		t.Errorf("atOneTime = %q, want %q", got, want)
	}
}
