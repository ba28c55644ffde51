package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDependencies checks docs/dependencies.md against what the source imports:
// each module has a line, no line is about a module that is not used, and those
// that the program itself does without are marked "tests only".
func TestDependencies(t *testing.T) {
	modules := requirements(t, "../go.mod")
	inProgram := map[string]bool{} // by module: whether the program imports it
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && base != ".." && (strings.HasPrefix(base, ".") || base == "testdata") {
			return fs.SkipDir
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if module := moduleOf(modules, imported); module != "" {
				inProgram[module] = inProgram[module] || isProgram(filepath.ToSlash(name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	lines := dependencyLines(t, "../docs/dependencies.md")
	for _, module := range slices.Sorted(maps.Keys(inProgram)) {
		line, ok := lines[module]
		if !ok {
			t.Errorf("docs/dependencies.md has no line about %s, which is imported", module)
			continue
		}
		if marked := strings.Contains(line, "tests only"); marked == inProgram[module] {
			t.Errorf("docs/dependencies.md: %s marked %q is %v, want %v", module, "tests only", marked, !inProgram[module])
		}
	}
	for module := range lines {
		if _, ok := inProgram[module]; !ok {
			t.Errorf("docs/dependencies.md has a line about %s, which nothing imports", module)
		}
	}
}

// TestNamedTests checks that the tests and scripts exist on which the threat
// model bases its claims.
func TestNamedTests(t *testing.T) {
	page, err := os.ReadFile("../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:internal|cmd|demo)[a-z/]*): (Test[A-Za-z]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) == 0 {
		t.Error("docs/threat-model.md names no tests")
	}
	for _, n := range named {
		files, err := filepath.Glob("../" + n[1] + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(name string) bool {
			data, err := os.ReadFile(name)
			return err == nil && strings.Contains(string(data), "func "+n[2]+"(")
		}) {
			t.Errorf("docs/threat-model.md: %s has no %s", n[1], n[2])
		}
	}
	for _, script := range regexp.MustCompile("`(cmd/kura/testdata/[^`]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat("../" + script[1]); err != nil {
			t.Errorf("docs/threat-model.md: %v", err)
		}
	}
}

// TestLinks checks that the pages link to files that exist.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md")
	link := regexp.MustCompile(`\]\(([^):#]+)[^):]*\)`) // not those with a scheme
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, l[1])
			}
		}
	}
}

// isProgram reports whether a file is part of the program that users run.
func isProgram(name string) bool {
	name = strings.TrimPrefix(name, "../")
	return (strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "cmd/kura/")) &&
		!strings.HasSuffix(name, "_test.go") &&
		!slices.Contains(testOnly, strings.TrimPrefix(path.Dir(name), "internal/"))
}

// requirements returns the modules that a go.mod file requires.
func requirements(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(data), "require (")
	var modules []string
	for line := range strings.Lines(block) {
		if fields := strings.Fields(line); len(fields) >= 2 && strings.HasPrefix(fields[1], "v") {
			modules = append(modules, fields[0])
		}
	}
	if len(modules) == 0 {
		t.Fatalf("%s: no requirements found", name)
	}
	return modules
}

// moduleOf returns the module that an imported package belongs to, "" for the
// standard library and for this module.
func moduleOf(modules []string, imported string) string {
	longest := ""
	for _, module := range modules {
		if (imported == module || strings.HasPrefix(imported, module+"/")) && len(module) > len(longest) {
			longest = module
		}
	}
	return longest
}

// dependencyLines returns the rows of the page's tables by the module that each
// is about: the first cell, in backquotes.
func dependencyLines(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		module, _, _ := strings.Cut(rest, "`")
		lines[module] = line
	}
	return lines
}
