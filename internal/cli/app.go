package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kura/internal/awsapi"
	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/mint"
	"kura/internal/onepassword"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/store/all"
	"kura/internal/unlocked"
)

// globalFlags are the flags of all commands.
type globalFlags struct {
	debug         bool
	backend       string // a spec, "" without a choice
	backendFlag   *pflag.Flag
	backendForAll bool   // it was given for this call, so profiles have no say
	cacheBackend  string // a spec, "" for the store of the access key
	prompt        promptSpec
	promptFlag    *pflag.Flag
	unlockTTL     time.Duration

	// Settings of backends.
	fileDir           string
	passphraseCommand string
	keychain          string
	collection        string
	passDir           string
	passCommand       string
	passPrefix        string
	opCommand         string
	opFields          fieldNames

	// What the sources of token codes need of the rest of the command.
	config *awsconfig.File     // that the chain was resolved from
	op     *onepassword.Client // see onePassword
}

func (g *globalFlags) declare(fs *pflag.FlagSet) {
	g.unlockTTL = 8 * time.Hour
	fs.BoolVar(&g.debug, "debug", false, "say on stderr what is being done")
	fs.Var(specFlag{&g.backend}, "backend", "where access keys are kept, as `NAME[:key=value,...]`; \"kura backends\" lists them")
	g.backendFlag = fs.Lookup("backend")
	fs.Var(specFlag{&g.cacheBackend}, "cache-backend", "where the key of the session cache is kept, as `NAME[:key=value,...]` (default: where the access key is)")
	fs.Var(promptFlag{&g.prompt}, "prompt", "where MFA codes come from: `NAME`, which is one of "+strings.Join(promptNames(), ", ")+", or 1password:item=ITEM[,vault=VAULT][,account=ACCOUNT] (default: the terminal or, without one, a window)")
	g.promptFlag = fs.Lookup("prompt")
	fs.Var(duration{&g.unlockTTL}, "unlock-ttl", "how long the store stays unlocked; 0s: for one command")
	fs.StringVar(&g.fileDir, "file-dir", "", "`directory` of the file backend")
	fs.StringVar(&g.passphraseCommand, "file-passphrase-command", "", "`command` that prints the passphrase of the file backend")
	fs.StringVar(&g.keychain, "keychain", "", "`name` of the macOS keychain (default: the login keychain)")
	fs.StringVar(&g.collection, "secret-service-collection", "", "`name` of the Secret Service collection (default: the desktop's default)")
	fs.StringVar(&g.passDir, "pass-dir", "", "`directory` of the pass or passage store")
	fs.StringVar(&g.passCommand, "pass-cmd", "", "`program` to run for pass")
	fs.StringVar(&g.passPrefix, "pass-prefix", "", "`prefix` of the entries in the pass or passage store")
	fs.StringVar(&g.opCommand, "op-cmd", "", "`program` to run for 1Password (default: op or, in WSL without one, op.exe)")
	fs.Var(fieldsFlag{&g.opFields}, "op-fields", "what the fields of your items in 1Password are called, as `NAME=LABEL,...`, where NAME is one of "+strings.Join(onepassword.FieldNames(), ", "))
	fromEnv(fs, "debug")
	fromEnv(fs, "backend", "AWS_VAULT_BACKEND")
	fromEnv(fs, "cache-backend")
	fromEnv(fs, "prompt", "AWS_VAULT_PROMPT")
	fromEnv(fs, "unlock-ttl")
	fromEnv(fs, "file-dir", "AWS_VAULT_FILE_DIR")
	fromEnv(fs, "file-passphrase-command")
	fromEnv(fs, "keychain", "AWS_VAULT_KEYCHAIN_NAME")
	fromEnv(fs, "secret-service-collection", "AWS_VAULT_SECRET_SERVICE_COLLECTION_NAME")
	fromEnv(fs, "pass-dir", "AWS_VAULT_PASS_PASSWORD_STORE_DIR")
	fromEnv(fs, "pass-cmd", "AWS_VAULT_PASS_CMD")
	fromEnv(fs, "pass-prefix", "AWS_VAULT_PASS_PREFIX")
	fromEnv(fs, "op-cmd")
	fromEnv(fs, "op-fields")
}

// config reads the AWS config file. One that is not there is an empty one.
func (a *app) config() (*awsconfig.File, error) {
	name := a.configFile()
	text, err := readText(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &configError{name, err}
	}
	return awsconfig.Parse(name, text)
}

// configFile returns the name of the AWS config file.
func (a *app) configFile() string {
	if name := a.expandHome(a.Getenv("AWS_CONFIG_FILE")); name != "" {
		return name
	}
	return filepath.Join(a.home(), ".aws", "config")
}

// readText is os.ReadFile for text. It makes no second copy of a large file to
// have it as a string.
func readText(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text strings.Builder
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		text.Grow(int(min(info.Size(), maxConfig)))
	}
	n, err := io.Copy(&text, io.LimitReader(f, maxConfig))
	if err == nil && n == maxConfig {
		err = fmt.Errorf("%s: more than %d bytes", name, maxConfig)
	}
	return text.String(), err
}

// maxConfig is more than any config file has, in bytes.
const maxConfig = 64 << 20

// A configError says that the AWS config file can't be read.
type configError struct {
	name string
	err  error
}

func (e *configError) Error() string { return "the AWS config file: " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// resolve works out the chain of a profile.
func (a *app) resolve(ctx context.Context, f *awsconfig.File, profile string, o *mintFlags) (chain.Chain, error) {
	a.global.config = f
	var hasErr error
	overrides := chain.Overrides{
		Region:    o.region,
		Duration:  o.duration,
		NoSession: o.noSession,
		User:      a.user(),
		Stored: func(name string) bool {
			has, err := a.stored(ctx, f, name)
			if err != nil {
				hasErr = err
			}
			return has
		},
		Getenv: a.Getenv,
	}
	c, err := chain.Resolve(f, profile, overrides)
	if hasErr != nil {
		// What was resolved takes the store for an empty one.
		return chain.Chain{}, hasErr
	}
	return c, err
}

// stored reports whether there is an access key of that name.
func (a *app) stored(ctx context.Context, f *awsconfig.File, name string) (bool, error) {
	v, err := a.vaultOf(f, name)
	if err != nil {
		return false, err
	}
	key := store.Key{Kind: store.AccessKey, Name: name}
	has, err := v.Has(ctx, key)
	if v.name() == all.OnePassword && errors.Is(err, store.ErrLocked) {
		// No names are noted yet, and it tells none before the person approves.
		if err = v.Unlock(ctx); err == nil {
			has, err = v.Has(ctx, key)
		}
	}
	if err != nil {
		return false, fmt.Errorf("looking for the access key of %q: %w", name, err)
	}
	return has, nil
}

// withoutOuter returns the environment without what an exec around this one has
// set for its own profile, and with it everything that begins there: it would
// outrank the settings of ours, or reach a command that it is not meant for.
func (a *app) withoutOuter(f *awsconfig.File) []string {
	outer := a.Getenv("AWS_VAULT")
	if outer == "" {
		return a.Environ
	}
	c, err := chain.Resolve(f, outer, chain.Overrides{Stored: func(string) bool { return true }})
	if err != nil {
		return a.Environ
	}
	set := []string{"AWS_REGION=" + c.Region, "AWS_DEFAULT_REGION=" + c.Region, "AWS_CA_BUNDLE=" + c.CABundle}
	for service, url := range c.Endpoints {
		set = append(set, strings.TrimSuffix("AWS_ENDPOINT_URL_"+service, "_")+"="+url)
	}
	return slices.DeleteFunc(slices.Clone(a.Environ), func(entry string) bool { return slices.Contains(set, entry) })
}

// backendEnv is what backends are given of this process and its user.
func (a *app) backendEnv() *all.Env {
	return &all.Env{
		Getenv:   a.Getenv,
		Environ:  func() []string { return deliver.Scrub(a.Environ) },
		Home:     a.home(),
		CacheDir: a.cacheDir(),
		Terminal: func() (string, bool) { return prompt.Name(), prompt.Works() },
		Display:  a.display(),
		Ask: func(ctx context.Context, question string) (string, error) {
			return ask(ctx, a, prompt.Passphrase, question+": ")
		},
		Say:         a.say,
		OnePassword: a.onePassword,
		PluginUI:    a.pluginUI,
		File:        a.fileOptions,
		Keep:        a.keep(),
		TTL:         a.global.unlockTTL,
		Waiting:     func() { a.say("waiting for another process that is opening the store") },
	}
}

// keep is what stays unlocked between commands. Whoever has several homes, as
// tests do, keeps them apart; one is the same by whatever links it is reached.
func (a *app) keep() *unlocked.Keep {
	if a.kept == nil {
		dir := a.dataDir()
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		sum := sha256.Sum256([]byte(dir))
		a.kept = unlocked.Open(hex.EncodeToString(sum[:8]))
	}
	return a.kept
}

// cache returns the cache of sessions that are minted from what is in a store.
func (a *app) cache(ctx context.Context, v *vault) (*mint.Cache, error) {
	id, err := v.id(ctx)
	if err != nil {
		a.log.Debug("the store can't be told from others", "reason", err)
	}
	var holder store.Store = v
	switch {
	case a.global.cacheBackend != "":
		s, err := parseSpec(a.backends(), a.global.cacheBackend)
		if err != nil {
			return nil, &backendError{"--cache-backend", err}
		}
		if holder, err = a.open(s); err != nil {
			return nil, err
		}
	case v.name() == all.OnePassword:
		holder = &elsewhere{vault: v, a: a}
	}
	return &mint.Cache{
		Dir:     a.sessionDir(),
		Store:   holder,
		StoreID: id,
		Keep:    a.keep(),
		KeepTTL: a.global.unlockTTL,
	}, nil
}

// elsewhere is where the cache key is kept of a store that has no place for it:
// in the keyring of the desktop if that is unlocked, else in the kernel's, else
// in the file store. It is looked for when the key is needed. Where another one
// is found the next time, the sessions are minted anew.
type elsewhere struct {
	*vault // that of the access keys, then the one chosen
	a      *app
	chosen bool
}

// Get implements store.Store.
func (e *elsewhere) Get(ctx context.Context, key store.Key) ([]byte, error) {
	if err := e.choose(ctx); err != nil {
		return nil, err
	}
	return e.vault.Get(ctx, key)
}

// Put implements store.Store.
func (e *elsewhere) Put(ctx context.Context, key store.Key, data []byte) error {
	if err := e.choose(ctx); err != nil {
		return err
	}
	return e.vault.Put(ctx, key, data)
}

func (e *elsewhere) choose(ctx context.Context) error {
	if e.chosen {
		return nil
	}
	for _, name := range []string{"keychain", "wincred", "secret-service", "keyctl", "file"} {
		if !slices.Contains(backendNames(e.a.backends()), name) {
			continue // of another system
		}
		v, err := e.a.openNamed(name)
		if err != nil {
			return err
		}
		if name != "file" {
			check, cancel := context.WithTimeout(ctx, checkTimeout)
			note, err := v.Check(check)
			cancel()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil || strings.HasPrefix(note, "locked") || strings.HasPrefix(note, "not made") {
				e.a.log.Debug("the cache key is not kept there", "backend", name, "note", note, "reason", err)
				continue
			}
		}
		e.vault, e.chosen = v, true
		return nil
	}
	return errors.New("no backend keeps a cache key on this machine")
}

// sessions is the cache for those who only look at it, or empty it.
func (a *app) sessions() *mint.Cache { return &mint.Cache{Dir: a.sessionDir()} }

func (a *app) sessionDir() string { return filepath.Join(a.cacheDir(), "sessions") }

func (a *app) minter(ctx context.Context, v *vault, c chain.Chain, o *mintFlags) (*mint.Minter, error) {
	minTTL, err := a.minTTL()
	if err != nil {
		return nil, err
	}
	cache, err := a.cache(ctx, v)
	if err != nil {
		return nil, err
	}
	codes, err := a.tokenCodesOf(v, c, o.tokenCode)
	if err != nil {
		return nil, err
	}
	return &mint.Minter{
		Store:     v,
		AWS:       a.aws(c.CABundle),
		Cache:     cache,
		LockDir:   filepath.Join(a.cacheDir(), "locks"),
		TokenCode: codes.get,
		CodesFrom: codes.from,
		Run:       a.runCommand,
		Waiting: func(h mint.Holder) {
			a.say(fmt.Sprintf("waiting for process %d, which is getting credentials of %q", h.PID, h.Profile))
		},
		MinTTL:     minTTL,
		Least:      o.minTTL,
		CodesTyped: codes.typed,
		Shared:     a.itemCacheOf(v, c),
		Drop: func(ctx context.Context, name string) {
			v.drop(ctx, store.Key{Kind: store.AccessKey, Name: name})
		},
		Now: time.Now,
		Log: a.log,
	}, nil
}

// minTTL is how long cached credentials must still be valid to be used.
func (a *app) minTTL() (time.Duration, error) {
	text := a.Getenv("AWS_MIN_TTL")
	if text == "" {
		return mint.DefaultMinTTL, nil
	}
	d, err := chain.ParseDuration(text)
	if err != nil {
		return 0, &chain.SettingError{Setting: "AWS_MIN_TTL", Value: text, Msg: err.Error()}
	}
	return d, nil
}

func (a *app) aws(caBundle string) *awsapi.Client {
	return &awsapi.Client{
		Proxy:    http.ProxyFromEnvironment,
		CABundle: caBundle,
		Log:      a.log,
		OnCall:   func(op string) func() { return a.slow("waiting for AWS (" + op + ")") },
		OnSkew: func(offset time.Duration) {
			direction := "behind"
			if offset < 0 {
				direction, offset = "ahead of", -offset
			}
			a.log.Warn(fmt.Sprintf("this machine's clock is %s %s AWS's; set it", offset.Round(time.Second), direction))
		},
	}
}

// stsFor returns what asks STS in the name of a profile, which need not be
// configured yet.
func (a *app) stsFor(f *awsconfig.File, profile string) (*awsapi.Client, chain.Call, error) {
	c, err := a.chainFromKey(f, profile)
	if err != nil {
		return nil, chain.Call{}, err
	}
	// A profile with a key of its own has a first step, and that is a call.
	first := c.Steps[0]
	if first.SessionToken != nil {
		return a.aws(c.CABundle), first.SessionToken.Call, nil
	}
	return a.aws(c.CABundle), first.AssumeRole.Call, nil
}

// chainFromKey works out the chain of a profile that has an access key.
func (a *app) chainFromKey(f *awsconfig.File, profile string) (chain.Chain, error) {
	return chain.Resolve(f, profile, chain.Overrides{Getenv: a.Getenv, Stored: func(string) bool { return true }})
}

// say tells the user something while a question or a wait is going on: on the
// terminal, or on standard error where there is none.
func (a *app) say(text string) {
	if err := prompt.Say(a.name + ": " + text); err != nil {
		fmt.Fprintf(a.Stderr, "%s: %s\n", a.name, text)
	}
}

// slow says what is being waited for if that takes more than a second, until done
// is called: on the terminal, to somebody who sees what this program says there,
// and where no other program that is served uses it. Nothing of it stays.
func (a *app) slow(text string) (done func()) {
	if stderr, ok := a.Stderr.(*os.File); !ok || a.patient || !term.IsTerminal(int(stderr.Fd())) {
		return func() {}
	}
	erase := make(chan func(), 1)
	timer := time.AfterFunc(time.Second, func() { erase <- prompt.Note(a.name + ": " + text) })
	return func() {
		if !timer.Stop() {
			(<-erase)()
		}
	}
}

// home is the user's home directory. That there is one was checked at the start.
func (a *app) home() string {
	home, _ := os.UserHomeDir() // see start
	return home
}

// expandHome replaces a leading "~/" as a shell does, because variables that
// are set in files reach programs without a shell.
func (a *app) expandHome(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return filepath.Join(a.home(), rest)
	}
	return name
}

// dataDir is where the store is kept.
func (a *app) dataDir() string {
	if dir := a.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kura")
	}
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(a.Getenv("LocalAppData"), "kura")
	case "darwin":
		return filepath.Join(a.home(), "Library", "Application Support", "kura")
	}
	return filepath.Join(a.home(), ".local", "share", "kura")
}

// cacheDir is where sessions and locks are kept. What is lost there is minted
// anew.
func (a *app) cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = filepath.Join(a.home(), ".cache")
	}
	return filepath.Join(dir, "kura")
}

func (a *app) settingsFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = filepath.Join(a.home(), ".config")
	}
	return filepath.Join(dir, "kura", "config.toml")
}

// user names the person in role sessions.
func (a *app) user() string {
	for _, name := range []string{"LOGNAME", "USER", "USERNAME"} {
		if user := a.Getenv(name); user != "" {
			return user
		}
	}
	return "uid-" + strconv.Itoa(os.Getuid())
}
