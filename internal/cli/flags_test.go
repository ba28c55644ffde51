package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// eachFlag calls f for every flag of every command that a person is shown.
func eachFlag(f func(*cobra.Command, *pflag.Flag)) {
	for _, c := range documented(testRoot()) {
		c.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) { f(c, flag) })
		c.PersistentFlags().VisitAll(func(flag *pflag.Flag) { f(c, flag) })
	}
}

// TestFlagMeaning checks that a flag that several commands have means the same
// in each, and is short for the same letter. The words are the meaning.
func TestFlagMeaning(t *testing.T) {
	type meaning struct{ shorthand, usage, kind, command string }
	seen := map[string]meaning{}
	eachFlag(func(c *cobra.Command, f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if f.Usage == "" {
			t.Errorf("%s --%s: no usage", c.CommandPath(), f.Name)
		}
		m := meaning{f.Shorthand, f.Usage, f.Value.Type(), c.CommandPath()}
		first, ok := seen[f.Name]
		if !ok {
			seen[f.Name] = m
			return
		}
		if first.command = m.command; first != m {
			t.Errorf("--%s of %s is %+v, but elsewhere it is %+v", f.Name, m.command, m, first)
		}
	})
}

// TestFlagVariables checks that no environment variable stands for two things.
func TestFlagVariables(t *testing.T) {
	of := map[string]string{callersVariable: "the program itself"}
	for _, name := range passphraseVariables {
		of[name] = "the passphrase"
	}
	eachFlag(func(c *cobra.Command, f *pflag.Flag) {
		if f.Name == "help" || f.Name == "version" {
			return
		}
		for _, name := range envNames(f) {
			if first, ok := of[name]; ok && first != "--"+f.Name {
				t.Errorf("%s stands for --%s of %s and for %s", name, f.Name, c.CommandPath(), first)
			}
			of[name] = "--" + f.Name
			if !strings.HasPrefix(name, "KURA_") && !strings.HasPrefix(name, "AWS_VAULT_") {
				t.Errorf("%s, which stands for --%s, is not a name of ours", name, f.Name)
			}
		}
	})
}

// TestCommandTexts checks that every command says what it is for, in the form
// that help and the manual are made of.
func TestCommandTexts(t *testing.T) {
	for _, c := range documented(testRoot()) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Short != strings.ToLower(c.Short[:1])+c.Short[1:] {
			t.Errorf("%s: short text %q, want a phrase without capital and full stop", path, c.Short)
		}
		if !strings.HasSuffix(c.Long, ".") {
			t.Errorf("%s: long text ends in %.20q, want sentences", path, c.Long[max(0, len(c.Long)-20):])
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s: %q is longer than 80 characters", path, line)
			}
		}
	}
}

func TestProgramName(t *testing.T) {
	for arg0, want := range map[string]string{
		"kura":                     "kura",
		"/usr/local/bin/kura":      "kura",
		"./kura-1.0":               "kura",
		"aws-vault":                "aws-vault",
		"/usr/local/bin/aws-vault": "aws-vault",
		"aws-vault.exe":            "aws-vault",
		"":                         "kura",
	} {
		if got := programName(arg0); got != want {
			t.Errorf("programName(%q) = %q, want %q", arg0, got, want)
		}
	}
}
