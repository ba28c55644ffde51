package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says which packages of this program each package may import. The
// list is short on purpose: a new line, or a longer one, is a design decision.
// Tests may import whatever they test.
var layers = map[string][]string{
	"cred":            {},
	"awsconfig":       {},
	"durable":         {},
	"prompt":          {"width"},
	"harden":          {},
	"unlocked":        {},
	"width":           {},
	"pick":            {"width"},
	"ink":             {"width"},
	"explain":         {"ink", "width"},
	"store":           {},
	"store/file":      {"durable", "store", "unlocked"},
	"store/storetest": {"store"},

	"sessionbus":          {"store"},
	"store/awsvault":      {"cred", "store"},
	"store/helper":        {"store", "store/program"},
	"store/keychain":      {"store"},
	"store/keyctl":        {"store"},
	"store/kwallet":       {"sessionbus", "store"},
	"store/near":          {"durable", "store", "unlocked"},
	"store/pass":          {"durable", "store", "store/program", "store/tree"},
	"store/passage":       {"durable", "store", "store/tree"},
	"store/program":       {"store"},
	"store/secretservice": {"sessionbus", "store"},
	"store/tree":          {"store"},
	"store/wincred":       {"store"},
	"store/live":          {},
	"transfer":            {"store"},
	"backup":              {"store"},
	"store/all": {"onepassword", "sessionbus", "store", "store/awsvault", "store/file", "store/helper", "store/keychain", "store/keyctl",
		"store/kwallet", "store/near", "store/onepassword", "store/pass", "store/passage", "store/program",
		"store/secretservice", "store/wincred", "unlocked"},
	"chain":   {"awsconfig"},
	"foreign": {"awsconfig", "cred", "store"},
	"doctor":  {"awsconfig", "chain", "foreign"},
	"awsapi":  {"chain", "cred"},
	"mfa":     {"durable", "shell", "store/program"},
	"shell":   {},
	"mint":    {"awsapi", "chain", "cred", "durable", "store", "unlocked"},
	"deliver": {"cred", "durable"},
	"rotate":  {"awsapi", "chain", "cred", "durable", "store"},
	"serve":   {"cred"},
	"console": {"cred", "serve", "store/program"},
	"peer":    {},
	"awstest": {},
	"opemu":   {"durable"},

	"setup":     {"awsconfig", "onepassword"},
	"linklocal": {"store/program"}, // which finds sudo

	"onepassword":       {"cred", "durable", "store/program"},
	"store/onepassword": {"cred", "onepassword", "store"},

	"cli": {"awsapi", "awsconfig", "backup", "chain", "console", "cred", "deliver", "doctor", "durable", "explain", "foreign", "harden",
		"ink", "linklocal", "mfa", "mint", "onepassword", "peer", "pick", "prompt", "rotate", "serve", "setup", "shell", "store",
		"store/all", "store/file", "transfer", "unlocked", "width"},
}

// testOnly are the packages that no part of the program may import.
var testOnly = []string{"awstest", "opemu", "store/live", "store/storetest"}

// sdkUsers are the packages that may import the AWS SDK. The program itself
// signs its few calls by hand: see docs/performance.md.
var sdkUsers = []string{"awstest"}

// revealers are the packages that may look inside a cred.Secret.
var revealers = []string{"awsapi", "console", "cred", "deliver", "onepassword", "serve"}

// environment is what only package cli may touch of the process.
var environment = []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Setenv", "os.Exit", "os.Stdin", "os.Stdout", "os.Stderr"}

// borrowers are packages that may use one of these all the same, and which.
var borrowers = map[string][]string{
	"deliver": {"os.Stdin", "os.Stdout", "os.Stderr"}, // the child inherits them
}

func TestLayers(t *testing.T) {
	const module = "kura/internal/"
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		allowed, ok := layers[pkg]
		if !ok {
			t.Errorf("package %s is not in layers", pkg)
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			own, ok := strings.CutPrefix(imported, module)
			if ok && (!slices.Contains(allowed, own) || slices.Contains(testOnly, own)) {
				t.Errorf("%s: %s must not import %s", fset.Position(spec.Pos()), pkg, own)
			}
			if strings.HasPrefix(imported, "github.com/aws/") && !slices.Contains(sdkUsers, pkg) {
				t.Errorf("%s: only %q may import the AWS SDK", fset.Position(spec.Pos()), sdkUsers)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if sel.Sel.Name == "Reveal" && !slices.Contains(revealers, pkg) && !slices.Contains(testOnly, pkg) {
				t.Errorf("%s: only %q may reveal secrets", fset.Position(n.Pos()), revealers)
			}
			if x, ok := sel.X.(*ast.Ident); ok {
				what := x.Name + "." + sel.Sel.Name
				if slices.Contains(environment, what) && pkg != "cli" && !slices.Contains(borrowers[pkg], what) && !slices.Contains(testOnly, pkg) {
					t.Errorf("%s: only package cli uses %s", fset.Position(n.Pos()), what)
				}
			}
			return true
		})
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: no init functions: start-up time is part of the product", fset.Position(fn.Pos()))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
