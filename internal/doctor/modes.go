package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"kura/internal/awsconfig"
	"kura/internal/foreign"
)

// modes returns the files and directories that others can change, and so have
// commands run in this user's name, and those with keys that others can read.
func (s *Setup) modes() []Finding {
	var list []Finding
	for _, f := range []*awsconfig.File{s.Config, s.Credentials} {
		if f == nil {
			continue
		}
		list = append(list, s.mode(filepath.Dir(f.Name()), false)...)
		keys := slices.ContainsFunc(foreign.FromFile(f), func(i foreign.Item) bool { return i.Err == nil })
		list = append(list, s.mode(f.Name(), keys)...)
	}
	for _, name := range s.Own {
		list = append(list, s.mode(name, false)...)
	}
	return list
}

// mode returns what is wrong with who may change a file or directory or, if it
// is secret, read it. Write permission of a group may be that of a group which
// is the user's own, as several Linux distributions make one for each user.
func (s *Setup) mode(name string, secret bool) []Finding {
	info, err := os.Stat(name)
	if err != nil {
		return nil // it need not be there; who can't read it says so
	}
	this := "this file"
	if info.IsDir() {
		this = "this directory"
	}
	perm := permissions(info)
	found := func(level Level, fix, who string) []Finding {
		return []Finding{{level, fmt.Sprintf("%s: its mode is %04o", who, perm), name, fix + " " + s.Quote(name)}}
	}
	switch {
	case isForeign(info):
		return found(Problem, `sudo chown "$USER"`, this+" belongs to another user")
	case perm&0o002 != 0:
		return found(Problem, "chmod go-w", "all users can change "+this)
	case secret && perm&0o004 != 0:
		return found(Problem, "chmod go=", "all users can read "+this+", which holds access keys")
	case perm&0o020 != 0:
		return found(Warning, "chmod go-w", "its group can change "+this)
	case secret && perm&0o040 != 0:
		return found(Warning, "chmod go=", "its group can read "+this+", which holds access keys")
	}
	return nil
}
