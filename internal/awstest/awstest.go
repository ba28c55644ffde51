// Package awstest emulates the parts of AWS that the program calls, over their
// real wire protocols. It is no mock: it checks signatures, token codes,
// expiry and limits as AWS does, so that code which passes against it speaks
// to AWS correctly. It does not know policies: who may do what is data, in a
// few fields of User, Role and Trust.
package awstest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Config says what a Cloud is like. The zero Config is the default world,
// served over HTTP on a free port.
type Config struct {
	World    *World        // nil: Default()
	KeyDelay time.Duration // how long a created access key is unknown yet

	// Spread is how long it takes until a change of an access key is seen
	// everywhere: a key that was deleted or made inactive works until then, and
	// lists have what was there before.
	Spread time.Duration

	Now func() time.Time // nil: time.Now
	TLS bool             // serve HTTPS, with certificates of Cloud.CA
}

// A Cloud is an emulated AWS: all accounts, services and regions behind one
// address. Its methods may be called concurrently.
type Cloud struct {
	URL string // such as "http://127.0.0.1:4321"
	CA  *CA    // nil without TLS

	server   *httptest.Server
	done     chan struct{} // closed by Close
	now      func() time.Time
	keyDelay time.Duration
	spread   time.Duration

	mu           sync.Mutex
	offset       time.Duration
	sessionLimit time.Duration
	users        map[string]*user // by ARN
	roles        map[string]*role // by ARN
	keys         map[string]*key  // by access key ID
	devices      map[string]*device
	buckets      []Bucket
	identities   map[string]WebIdentity // by token
	signins      map[string]signinToken // by token
	denied       map[string][]string    // actions, by account
	faults       map[string][]Fault     // by operation
	calls        []Call
	secrets      []string
}

// A Call is one request that reached the Cloud.
type Call struct {
	Service string // as in a signature's scope: "sts", "iam", "s3"; or "signin"
	Op      string // such as "AssumeRole"
	Region  string // that the request is signed for, "" when it is not signed
	Host    string // the Host header
	KeyID   string // access key ID that signed it, "" when it is not signed
	Caller  string // ARN of the caller, "" when the signature was not accepted

	// Params are the request's parameters. Token codes, credentials, web
	// identity tokens and sign-in tokens are replaced by "[secret]".
	Params map[string]string

	Error string    // AWS's error code, "" when the call was carried out
	Fault FaultKind // what went wrong with it by intention
}

// New starts a Cloud on the loopback interface. It panics when the world is
// not valid or no port is free, since only tests can be at fault.
func New(cfg Config) *Cloud {
	c := NewHandler(cfg)
	c.server = httptest.NewUnstartedServer(c)
	c.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that give up are no news
	if cfg.TLS {
		c.CA = NewCA()
		c.server.TLS = c.CA.Config()
		c.server.StartTLS()
	} else {
		c.server.Start()
	}
	c.URL = c.server.URL
	return c
}

// NewHandler returns a Cloud that listens nowhere: its user serves it as an
// http.Handler. It panics when the world is not valid.
func NewHandler(cfg Config) *Cloud {
	c := &Cloud{
		done:       make(chan struct{}),
		now:        cfg.Now,
		keyDelay:   cfg.KeyDelay,
		spread:     cfg.Spread,
		users:      map[string]*user{},
		roles:      map[string]*role{},
		keys:       map[string]*key{},
		devices:    map[string]*device{},
		identities: map[string]WebIdentity{},
		signins:    map[string]signinToken{},
		denied:     map[string][]string{},
		faults:     map[string][]Fault{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	world := cfg.World
	if world == nil {
		w := Default()
		world = &w
	}
	for _, u := range world.Users {
		c.AddUser(u)
	}
	for _, r := range world.Roles {
		c.AddRole(r)
	}
	for _, b := range world.Buckets {
		c.AddBucket(b)
	}
	for _, w := range world.WebIdentities {
		c.AddWebIdentity(w)
	}
	return c
}

// Close ends the requests that hang or wait and stops the server.
func (c *Cloud) Close() {
	close(c.done)
	if c.server != nil {
		c.server.Close()
	}
}

// SetClockOffset sets how far the Cloud's clock is ahead of the real one. All
// that the Cloud does follows its own clock: signatures, expiry, token codes
// and the Date header.
func (c *Cloud) SetClockOffset(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = d
}

// SetSessionLimit makes session credentials that are issued from now on end after
// that time at the latest, whatever was asked for; 0 is no limit. AWS has none
// below 15 minutes. It is for who wants to see sessions end.
func (c *Cloud) SetSessionLimit(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessionLimit = d
}

// Now returns the time by the Cloud's clock.
func (c *Cloud) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock()
}

// clock is Now for those who hold the lock.
func (c *Cloud) clock() time.Time { return c.now().Add(c.offset) }

// Calls returns the requests so far, refused and faulty ones included, in the
// order in which they took effect.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// ResetCalls forgets the calls so far.
func (c *Cloud) ResetCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = nil
}

// Count returns how often an operation such as "AssumeRole" was requested.
func (c *Cloud) Count(op string) int {
	n := 0
	for _, call := range c.Calls() {
		if call.Op == op {
			n++
		}
	}
	return n
}

// Done returns the operations that were carried out, those whose reply was
// lost included, in order.
func (c *Cloud) Done() []string {
	var ops []string
	for _, call := range c.Calls() {
		if call.Error == "" {
			ops = append(ops, call.Op)
		}
	}
	return ops
}

// Secrets returns every secret that was ever configured or given out: secret
// access keys, session tokens, seeds of MFA devices, web identity tokens and
// sign-in tokens. Tests check that none of them shows where it must not.
func (c *Cloud) Secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.secrets)
}

// A request is an HTTP request on its way through the Cloud.
type request struct {
	*http.Request
	body   []byte
	params url.Values // of query and form
	sig    *signature // nil: not signed
	svc    service
	op     string
	now    time.Time // by the Cloud's clock
	key    *key      // that signed it; nil before authenticate
}

// A service is one AWS service, named as in a signature's scope. Those of
// other protocols than query and S3's fit in: all that a service knows of the
// wire is in its three functions.
type service struct {
	name   string
	op     func(*request) string // never fails; "" when there is no telling
	handle func(*Cloud, *request) (*reply, error)
	fail   func(*request, *refusal) *reply
}

// A reply is what the Cloud answers.
type reply struct {
	status      int
	contentType string
	body        []byte
}

// A refusal is an error as AWS states it.
type refusal struct {
	status  int
	code    string
	message string
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler. Whatever the host and the region, the
// service is found by the scope of the signature.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq, err := read(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fault := c.nextFault(rq.op)
	switch fault.Kind {
	case Drop, Hang:
		c.mu.Lock()
		c.record(rq, fault, refuse(0, string(fault.Kind), ""))
		c.mu.Unlock()
		fault.strike()
		if fault.Kind == Hang {
			c.wait(r, nil)
		}
		panic(http.ErrAbortHandler)
	case Slow:
		c.wait(r, time.After(fault.Delay))
	}
	out := c.answer(rq, fault)
	fault.strike()
	switch fault.Kind {
	case Stall:
		c.wait(r, nil)
		panic(http.ErrAbortHandler)
	case LoseReply:
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h.Set("Date", c.Now().UTC().Format(http.TimeFormat))
	h.Set("Content-Type", out.contentType)
	w.WriteHeader(out.status)
	w.Write(out.body)
}

// wait returns when it is time, or when the client or the Cloud goes away.
func (c *Cloud) wait(r *http.Request, until <-chan time.Time) {
	select {
	case <-until:
	case <-r.Context().Done():
	case <-c.done:
	}
}

// read takes a request from the wire and finds out whom it is for.
func read(w http.ResponseWriter, r *http.Request) (*request, error) {
	rq := &request{Request: r}
	var err error
	if rq.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
		return nil, err
	}
	if rq.params, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(rq.body))
		if err != nil {
			return nil, err
		}
		maps.Copy(rq.params, form)
	}
	name := ""
	if rq.sig, err = parseSignature(rq); rq.sig != nil {
		name = rq.sig.service
	}
	rq.svc = findService(name, rq.params)
	if rq.sig == nil && isSignin(r.URL.Path) {
		rq.svc = signinService()
	}
	rq.op = rq.svc.op(rq)
	if refused, ok := errors.AsType[*refusal](err); ok {
		rq.svc.handle = func(*Cloud, *request) (*reply, error) { return nil, refused }
	}
	return rq, nil
}

// findService returns the service of that name. A request that is not signed
// names none: if it has an Action it is in the query protocol, whose services
// differ in version, and else for S3, as far as this emulator is concerned.
func findService(name string, params url.Values) service {
	switch {
	case name == "iam", name == "" && params.Get("Version") == iamVersion:
		return iamService()
	case name == "sts", name == "" && params.Has("Action"):
		return stsService()
	case name == "s3", name == "":
		return s3Service()
	}
	missing := stsService()
	missing.name = name
	missing.handle = func(*Cloud, *request) (*reply, error) {
		return nil, refuse(http.StatusNotImplemented, "NotImplemented", "this emulator has no service %s", name)
	}
	return missing
}

// answer carries out a request, as one atomic step, and records it.
func (c *Cloud) answer(rq *request, fault Fault) *reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	rq.now = c.clock()
	if page, ok := fault.page(); ok {
		c.record(rq, fault, refuse(0, string(fault.Kind), ""))
		return page
	}
	out, err := c.carryOut(rq, fault)
	c.record(rq, fault, err)
	if err != nil {
		refused, ok := errors.AsType[*refusal](err)
		if !ok {
			panic(err) // services return nothing else
		}
		return rq.svc.fail(rq, refused)
	}
	return out
}

func (c *Cloud) carryOut(rq *request, fault Fault) (*reply, error) {
	if err := c.authenticate(rq); err != nil {
		return nil, err
	}
	if err := fault.refusal(); err != nil {
		return nil, err
	}
	return rq.svc.handle(c, rq)
}

// record adds a request to the calls. The caller holds the lock.
func (c *Cloud) record(rq *request, fault Fault, err error) {
	call := Call{Service: rq.svc.name, Op: rq.op, Host: rq.Host, Params: map[string]string{}, Fault: fault.Kind}
	for name := range rq.params {
		switch name {
		case "TokenCode", "WebIdentityToken", "Session", "SigninToken", "X-Amz-Security-Token", "X-Amz-Signature":
			call.Params[name] = "[secret]"
		default:
			call.Params[name] = rq.params.Get(name)
		}
	}
	if rq.sig != nil {
		call.Region, call.KeyID = rq.sig.region, rq.sig.keyID
	}
	if rq.key != nil {
		call.Caller = rq.key.who.arn
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		call.Error = refused.code
	}
	c.calls = append(c.calls, call)
}

// A key is an access key or a set of session credentials.
type key struct {
	id, secret string
	token      string    // "" for an access key
	expires    time.Time // zero for an access key
	created    time.Time
	usable     time.Time // when it has spread through AWS; zero: long ago
	listed     time.Time // the same for lists
	inactive   bool
	deleted    bool
	changed    time.Time // made inactive or deleted, see Config.Spread
	used       time.Time // zero: never
	usedFor    string    // service
	usedIn     string    // region
	who        principal
}

// isOff reports whether k is to work no more.
func (k *key) isOff() bool { return k.inactive || k.deleted }

// isSpread reports whether a change of that time is seen everywhere by now.
func (c *Cloud) isSpread(changed, now time.Time) bool { return !now.Before(changed.Add(c.spread)) }

// A principal is who a key speaks for.
type principal struct {
	account string
	arn     string
	userID  string
	user    *user // nil for a role
	role    *role // nil for a user

	mfa            bool // GetSessionToken was called with a token code
	federated      bool // GetFederationToken was called
	chained        bool // a role that session credentials have assumed
	sourceIdentity string
	transitive     map[string]string // tags that the next session inherits
}

// authenticate checks who sent a request: nobody, for requests that are not
// signed, or the owner of rq.key.
func (c *Cloud) authenticate(rq *request) error {
	if rq.sig == nil {
		return nil
	}
	errs := authErrorsOf(rq.svc.name)
	if err := rq.sig.checkScope(rq); err != nil {
		return err
	}
	if err := rq.sig.checkDate(rq.now, errs); err != nil {
		return err
	}
	k := c.keys[rq.sig.keyID]
	if k == nil || k.isOff() && c.isSpread(k.changed, rq.now) || rq.now.Before(k.usable) {
		return errs.unknownKey
	}
	if rq.sig.token != k.token {
		return errs.badToken
	}
	if !rq.sig.verify(rq, k.secret) {
		return errs.badSignature
	}
	if k.token != "" && !rq.now.Before(k.expires) {
		return errs.expired
	}
	k.used, k.usedFor, k.usedIn = rq.now, rq.sig.service, rq.sig.region
	rq.key = k
	return nil
}

// issue makes session credentials.
func (c *Cloud) issue(who principal, now time.Time, seconds int) *key {
	lasts := time.Duration(seconds) * time.Second
	if c.sessionLimit > 0 {
		lasts = min(lasts, c.sessionLimit)
	}
	k := &key{
		id:      newID("ASIA"),
		secret:  randomBase64(30),
		token:   "IQoJb3JpZ2luX2Vj" + randomBase64(264),
		expires: now.Add(lasts).Truncate(time.Second),
		created: now,
		who:     who,
	}
	c.keys[k.id] = k
	c.secrets = append(c.secrets, k.secret, k.token)
	return k
}

// newID returns a fresh ID with one of the prefixes of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
func newID(prefix string) string { return prefix + rand.Text()[:16] }

// stableID returns the same ID for the same name.
func stableID(prefix, name string) string {
	sum := sha256.Sum256([]byte(name))
	return prefix + strings.ToUpper(hex.EncodeToString(sum[:8]))
}

func randomBase64(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func requestID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
