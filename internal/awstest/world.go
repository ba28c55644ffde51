package awstest

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// A World is what there is in a Cloud at its start. Accounts exist by being
// named.
type World struct {
	Users         []User
	Roles         []Role
	Buckets       []Bucket
	WebIdentities []WebIdentity
}

// A User is an IAM user. Users may manage their own access keys, call STS and
// read the buckets of their account.
type User struct {
	Account string // 12 digits
	Name    string
	Path    string      `json:",omitempty"` // such as "/team/"; "": "/"
	Keys    []AccessKey `json:",omitempty"`
	MFA     []MFADevice `json:",omitempty"`
	Deny    []string    `json:",omitempty"` // actions denied, such as "iam:DeleteAccessKey"
}

// ARN returns the user's ARN.
func (u User) ARN() string {
	return "arn:aws:iam::" + u.Account + ":user/" + strings.TrimPrefix(u.Path, "/") + u.Name
}

// An AccessKey is a long-term access key.
type AccessKey struct {
	ID       string
	Secret   string
	Inactive bool      `json:",omitempty"`
	Created  time.Time `json:",omitzero"` // zero: when it was added
}

// An MFADevice is a virtual MFA device (RFC 6238: SHA-1, 30 s, 6 digits).
type MFADevice struct {
	Serial string // its ARN
	Seed   string // base32, without padding
}

// A Role is an IAM role. Its sessions may call STS and read the buckets of
// their account.
type Role struct {
	Account    string // 12 digits
	Name       string // may begin with a path, as in "team/ops"
	MaxSession int    `json:",omitempty"` // seconds; 0: AWS's default, 3600
	Trust      []Trust
	IAM        bool     `json:",omitempty"` // may manage the access keys of the account's users
	Deny       []string `json:",omitempty"` // actions denied
}

// ARN returns the role's ARN.
func (r Role) ARN() string { return "arn:aws:iam::" + r.Account + ":role/" + r.Name }

// A Trust is one statement of a role's trust policy. All that it asks for must
// be so; one statement that is met is enough.
type Trust struct {
	// Principals are ARNs of users, roles and role sessions, or
	// "arn:aws:iam::111122223333:root" for all of an account, or "*".
	Principals []string `json:",omitempty"`

	// Provider is the issuer of web identity tokens, which AssumeRole with
	// credentials does not go by, nor the other way round.
	Provider string `json:",omitempty"`
	Subject  string `json:",omitempty"` // of such tokens; "" for any

	ExternalID     string   `json:",omitempty"` // sts:ExternalId
	MFA            bool     `json:",omitempty"` // aws:MultiFactorAuthPresent
	SourceIdentity bool     `json:",omitempty"` // one must be set
	Deny           []string `json:",omitempty"` // "sts:TagSession", "sts:SetSourceIdentity"
}

// A Bucket is an S3 bucket.
type Bucket struct {
	Account string
	Name    string
	Objects []string `json:",omitempty"` // their names, sorted

	// Readers are the names of the account's users and roles that may see the
	// bucket; none means all.
	Readers []string `json:",omitempty"`
}

// A WebIdentity is an OIDC token and what it says. The Cloud does not read
// tokens; it knows them.
type WebIdentity struct {
	Token    string
	Issuer   string // a URL
	Subject  string
	Audience string
	Expires  time.Time `json:",omitzero"` // zero: never
}

// The user of the default world whom most tests need.
const (
	Account         = "111122223333"
	UserARN         = "arn:aws:iam::111122223333:user/ann"
	AccessKeyID     = "AKIAIOSFODNN7EXAMPLE"
	SecretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	MFASerial       = "arn:aws:iam::111122223333:mfa/ann"
	MFASeed         = "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD"
)

// Default returns the world of the demonstration and of most tests: the users
// ann and oppara of account 111122223333, its roles, the role spoke of account
// 444455556666 and buckets that tell the accounts and roles apart.
func Default() World {
	const other = "444455556666"
	everyone := []string{"arn:aws:iam::" + Account + ":root"}
	role := func(name string, trust Trust) Role {
		if trust.Provider == "" {
			trust.Principals = everyone
		}
		return Role{Account: Account, Name: name, Trust: []Trust{trust}}
	}
	admin := role("admin", Trust{MFA: true})
	admin.IAM = true
	long := role("long", Trust{})
	long.MaxSession = 12 * 3600
	return World{
		Users: []User{
			{
				Account: Account,
				Name:    "ann",
				Keys:    []AccessKey{{ID: AccessKeyID, Secret: SecretAccessKey}},
				MFA:     []MFADevice{{Serial: MFASerial, Seed: MFASeed}},
			},
			{
				Account: Account,
				Name:    "oppara",
				Keys:    []AccessKey{{ID: "AKIAI44QH8DHBEXAMPLE", Secret: "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"}},
				MFA:     []MFADevice{{Serial: "arn:aws:iam::111122223333:mfa/oppara", Seed: "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"}},
			},
		},
		Roles: []Role{
			role("readonly", Trust{}),
			admin,
			role("audit", Trust{MFA: true}),
			role("hub", Trust{}),
			long,
			role("vendor", Trust{ExternalID: "example-external-id"}),
			role("traced", Trust{SourceIdentity: true}),
			role("deploy", Trust{Provider: "https://token.example", Subject: "repo:example/app"}),
			{
				Account: other,
				Name:    "spoke",
				Trust:   []Trust{{Principals: []string{"arn:aws:iam::" + Account + ":role/hub"}}},
			},
		},
		Buckets: []Bucket{
			{Account: Account, Name: "example-logs", Objects: []string{"2026/01/app.log", "2026/02/app.log", "README"}},
			{Account: Account, Name: "example-payroll", Objects: []string{"salaries.csv"}, Readers: []string{"admin"}},
			{Account: other, Name: "example-spoke", Objects: []string{"artifact.tar"}},
		},
		WebIdentities: []WebIdentity{{
			Token:    "example.web-identity.token",
			Issuer:   "https://token.example",
			Subject:  "repo:example/app",
			Audience: "sts.amazonaws.com",
		}},
	}
}

// ReadWorld decodes a World from JSON, whose members are named as the fields.
// An error says what is wrong with it.
func ReadWorld(data []byte) (World, error) {
	var w World
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return World{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return World{}, errors.New("text after the world")
	}
	return w, w.check()
}

// check says whether a Cloud can be made of w.
func (w World) check() (err error) {
	defer func() {
		if bad, ok := recover().(invalid); ok {
			err = bad
		}
	}()
	NewHandler(Config{World: &w})
	return nil
}

// invalid is what the Add methods panic with.
type invalid string

func (e invalid) Error() string { return string(e) }

func must(ok bool, format string, args ...any) {
	if !ok {
		panic(invalid(fmt.Sprintf(format, args...)))
	}
}

func mustAccount(id string) {
	must(len(id) == 12 && strings.Trim(id, "0123456789") == "", "account %q is not 12 digits", id)
}

type user struct {
	User    // as it was added; its keys are in Cloud.keys
	id      string
	created time.Time
}

type role struct {
	Role
	id string
}

// sessionARN returns the ARN of a session of r.
func (r *role) sessionARN(name string) string {
	return "arn:aws:sts::" + r.Account + ":assumed-role/" + path.Base(r.Name) + "/" + name
}

// AddUser adds a user with access keys that are usable at once.
func (c *Cloud) AddUser(u User) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mustAccount(u.Account)
	must(u.Name != "" && c.userNamed(u.Account, u.Name) == nil, "user %q has no name, or is not the first", u.Name)
	must(u.Path == "" || u.Path == "/" || len(u.Path) > 2 && u.Path[0] == '/' && strings.HasSuffix(u.Path, "/"), "user %q: path %q", u.Name, u.Path)
	added := &user{User: u, id: stableID("AIDA", u.ARN()), created: c.clock()}
	c.users[u.ARN()] = added
	for _, k := range u.Keys {
		c.addKey(added, k)
	}
	for _, m := range u.MFA {
		c.addMFA(added, m)
	}
}

// userNamed returns the user of that name: it is one in its account, whatever the
// path. The caller holds the lock.
func (c *Cloud) userNamed(account, name string) *user {
	for _, u := range c.users {
		if u.Account == account && strings.EqualFold(u.Name, name) {
			return u
		}
	}
	return nil
}

// Deny makes a service control policy deny these actions, and no others, to all
// users and roles of an account.
func (c *Cloud) Deny(account string, actions ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied[account] = actions
}

// AddKey makes an access key for a user, given by ARN. It is usable at once.
func (c *Cloud) AddKey(userARN string) AccessKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	must(c.users[userARN] != nil, "no user %q", userARN)
	k := AccessKey{ID: newID("AKIA"), Secret: randomBase64(30)}
	c.addKey(c.users[userARN], k)
	return k
}

// SetKeyActive makes an access key active or inactive, at once.
func (c *Cloud) SetKeyActive(id string, active bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	must(c.keys[id] != nil, "no access key %q", id)
	c.keys[id].inactive, c.keys[id].changed = !active, time.Time{}
}

// AddMFA gives a user, named by ARN, an MFA device.
func (c *Cloud) AddMFA(userARN string) MFADevice {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[userARN]
	must(u != nil, "no user %q", userARN)
	m := MFADevice{
		Serial: fmt.Sprintf("arn:aws:iam::%s:mfa/%s-%s", u.Account, u.Name, newID("")),
		Seed:   newID("") + newID(""), // 32 characters of base32
	}
	c.addMFA(u, m)
	return m
}

// AddRole adds a role.
func (c *Cloud) AddRole(r Role) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mustAccount(r.Account)
	must(r.Name != "" && c.roles[r.ARN()] == nil, "role %q has no name, or is not the first", r.Name)
	if r.MaxSession == 0 {
		r.MaxSession = 3600
	}
	must(r.MaxSession >= 3600 && r.MaxSession <= 43200, "role %q: MaxSession is not 3600 to 43200", r.Name)
	c.roles[r.ARN()] = &role{Role: r, id: stableID("AROA", r.ARN())}
}

// AddBucket adds a bucket.
func (c *Cloud) AddBucket(b Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mustAccount(b.Account)
	must(b.Name != "", "a bucket has no name")
	c.buckets = append(c.buckets, b)
}

// AddWebIdentity makes an OIDC token known.
func (c *Cloud) AddWebIdentity(w WebIdentity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	must(len(w.Token) >= 4, "a web identity token is shorter than 4 characters")
	c.identities[w.Token] = w
	c.secrets = append(c.secrets, w.Token)
}

func (c *Cloud) addKey(u *user, k AccessKey) *key {
	must(len(k.ID) >= 16 && k.Secret != "" && c.keys[k.ID] == nil, "access key %q is short, without a secret, or not the first", k.ID)
	added := &key{
		id:       k.ID,
		secret:   k.Secret,
		created:  c.clock(),
		inactive: k.Inactive,
		who:      principal{account: u.Account, arn: u.ARN(), userID: u.id, user: u},
	}
	if !k.Created.IsZero() {
		added.created = k.Created
	}
	c.keys[k.ID] = added
	c.secrets = append(c.secrets, k.Secret)
	return added
}

func (c *Cloud) addMFA(u *user, m MFADevice) {
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(m.Seed)
	must(err == nil && len(seed) >= 16, "the seed of MFA device %q is not base32 of 16 bytes or more", m.Serial)
	must(len(m.Serial) >= 9 && c.devices[m.Serial] == nil, "MFA device %q is short, or not the first", m.Serial)
	c.devices[m.Serial] = &device{serial: m.Serial, seed: seed, owner: u, enabled: c.clock(), used: map[int64]bool{}}
	c.secrets = append(c.secrets, m.Seed)
}
