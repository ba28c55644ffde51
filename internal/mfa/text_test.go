package mfa

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are names that mean something to a shell, AppleScript, markup, or a
// program's command line.
var hostile = []string{
	"arn:aws:iam::123456789012:mfa/jo_doe",
	`" & (do shell script "touch x") & "`,
	`\" & (do shell script "touch x") & \"`,
	`\`, `a\tb\n\\`, "a\nb\r\x00\x1b[2J", "$(touch x)`touch x`", "--help",
	"<b>&amp;</b><img src='file:///x'>", "<?xml", "_a__b", "R&D", "100%0AGETPIN", "\xff\u202e", "é😀",
}

// FuzzText shows a name by each program as it is: whatever the name, the
// program gets back out of its argument what plain says.
func FuzzText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := &Prompt{Environ: []string{"LANG=en_US.UTF-8"}}
		text := p.plain(s, 50)
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Errorf("plain(%q) = %q, want what can be printed", s, text)
			}
		}
		if n := utf8.RuneCountInString(text); n > 53 {
			t.Errorf("plain(%q) has %d characters", s, n)
		}
		text = "Enter: " + text + "\nagain " + text

		if got := unquoteAppleScript(t, appleScriptString(text)); got != text {
			t.Errorf("osascript shows %q, want %q", got, text)
		}
		// Two passes: the escapes of C, then the mark of a key.
		if got := dropMarks(resolve(t, zenityText(text)), '_'); got != text {
			t.Errorf("zenity shows %q, want %q", got, text)
		}
		want := strings.ReplaceAll(text, "<", "?")
		if got := dropMarks(resolve(t, kdialogText(text)), '&'); got != want {
			t.Errorf("kdialog shows %q, want %q", got, want)
		}
		escaped := assuanEscape(text)
		if got, err := url.PathUnescape(escaped); got != text || err != nil || strings.ContainsAny(escaped, "\r\n") {
			t.Errorf("pinentry shows %q, %v, want %q", got, err, text)
		}
	})
}

// unquoteAppleScript reads a literal, which has to end where the text does.
func unquoteAppleScript(t *testing.T, literal string) string {
	t.Helper()
	body, ok := strings.CutPrefix(literal, `"`)
	if !ok {
		t.Fatalf("%q is no literal", literal)
	}
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		switch {
		case body[i] == '"':
			if i != len(body)-1 {
				t.Fatalf("the literal %q ends early", literal)
			}
			return b.String()
		case body[i] == '\\':
			i++
			if body[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(body[i])
			}
		default:
			b.WriteByte(body[i])
		}
	}
	t.Fatalf("the literal %q does not end", literal)
	return ""
}

// resolve resolves escapes, of which there should be none but \\.
func resolve(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) || s[i] != '\\' {
				t.Fatalf("%q has an escape", s)
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// dropMarks takes mark away where it marks the character that follows as a key.
func dropMarks(s string, mark byte) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == mark {
			if i++; i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func TestPlainWithoutUTF8(t *testing.T) {
	for _, locale := range []string{"", "C", "de_DE.ISO-8859-1"} {
		p := &Prompt{Environ: []string{"LANG=en_US.UTF-8", "LC_CTYPE=" + locale, "LC_ALL=" + locale}}
		want := "caf?"
		if locale == "" { // LANG counts
			want = "café"
		}
		if got := p.plain("café", 10); got != want {
			t.Errorf("plain in the locale %q = %q, want %q", locale, got, want)
		}
	}
}

// FuzzAssuanAnswer reads back what pinentry would send, and never takes the
// answer to another command for that to GETPIN.
func FuzzAssuanAnswer(f *testing.F) {
	f.Add("123456", "OK Pleased to meet you\nERR 1 no\n", 2)
	f.Add("a%b c", "", 0)
	f.Add("x", "D 654321\nOK\n", 1)
	f.Fuzz(func(t *testing.T, pin, before string, n int) {
		finals, data := 0, false
		for line := range strings.Lines(before) {
			switch word, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " "); word {
			case "OK", "ERR":
				finals, data = finals+1, false
			case "D":
				data = true
			}
		}
		if n != finals || data || before != "" && !strings.HasSuffix(before, "\n") || len(pin) > 900 {
			t.Skip()
		}
		output := before + "D " + assuanEscape(pin) + "\nOK\n"
		if got, err := assuanAnswer([]byte(output), n); got != pin || err != nil {
			t.Errorf("assuanAnswer(%q, %d) = %q, %v, want %q", output, n, got, err, pin)
		}
		if got, err := assuanAnswer([]byte(output), n+1); got != "" || !errors.Is(err, errNoReply) {
			t.Errorf("assuanAnswer(%q, %d) = %q, %v, want errNoReply", output, n+1, got, err)
		}
	})
}
