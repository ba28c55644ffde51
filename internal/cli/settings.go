package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// settings are what the settings file says. The program needs none: a person
// who types the same flag each time writes it there once, under its own name.
type settings struct {
	file   string
	values map[string]string
}

// readSettings reads the settings file, which need not exist. Only global flags
// are settings: what one command does is said where it is called.
func readSettings(file string, global *pflag.FlagSet) (*settings, error) {
	s := &settings{file: file}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var values map[string]any
	if _, err := toml.DecodeFile(file, &values); err != nil {
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s:%d: %s", file, e.Position.Line, e.Message)
		}
		return nil, err
	}
	s.values = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if global.Lookup(name) == nil {
			return nil, fmt.Errorf("%s: no setting is called %q", file, name)
		}
		s.values[name] = fmt.Sprint(values[name])
	}
	return s, nil
}

// take returns the value of a setting.
func (s *settings) take(name string) (string, bool) {
	if s == nil {
		return "", false
	}
	value, ok := s.values[name]
	return value, ok
}
