package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"kura/internal/durable"
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
	data, err := durable.ReadFile(file, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := e.Position()
			return nil, &settingsError{fmt.Errorf("%s:%d: %w", file, line, err)}
		}
		return nil, &settingsError{fmt.Errorf("%s: %w", file, err)}
	}
	s.values = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if global.Lookup(name) == nil {
			return nil, usagef("%s: no setting is called %q; settings have the names of global flags", file, name)
		}
		s.values[name] = fmt.Sprint(values[name])
	}
	return s, nil
}

// A settingsError says that the settings file is not TOML.
type settingsError struct{ err error }

func (e *settingsError) Error() string { return e.err.Error() }
func (e *settingsError) Unwrap() error { return e.err }

// take returns the value of a setting.
func (s *settings) take(name string) (string, bool) {
	if s == nil {
		return "", false
	}
	value, ok := s.values[name]
	return value, ok
}
