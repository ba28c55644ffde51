package serve

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"kura/internal/cred"
)

// An IMDS is the instance metadata service of EC2, as far as SDKs and the
// tools around them ask it. Version 2 of the protocol:
//
//	PUT /latest/api/token   a session token, good for as many seconds as the
//	                        header X-Aws-Ec2-Metadata-Token-Ttl-Seconds says, 1
//	                        to 21600
//	GET ...                 with that token in X-Aws-Ec2-Metadata-Token
//
// A session token is its own expiry, signed with a key that the IMDS has made
// for itself: nothing is kept of it, so no number of them costs anything, and
// none outlives the IMDS.
//
// What there is to GET, with or without a slash at the end, and with one or two at
// the beginning: the SDK for Java makes two of an endpoint that ends in one, as
// old AWS CLIs want it.
//
//	/, and the directories down to what follows    listings
//	/latest/meta-data/iam/info                     Code and LastUpdated
//	/latest/meta-data/iam/security-credentials/    the name of the role
//	.../security-credentials/ROLE                  session credentials
//	.../security-credentials-extended/             both once more, with AccountId;
//	                                               newer SDKs ask here first
//	/latest/meta-data/instance-id                  "kura"
//	/latest/meta-data/placement/region             the Region
//	.../placement/availability-zone                the Region and "a"
//	/latest/dynamic/instance-identity/document     region, availabilityZone,
//	                                               instanceId, accountId
//
// All else is not found: this is no instance, so it has no image, no address
// and no type, and what is made up would mislead. The dated versions of the API
// are not served either; no SDK asks for them.
//
// Where the source denies credentials, the answer is the one that EC2 gives:
// status 200 and a Code other than "Success", with a Message, in place of the
// credentials. Each SDK asks once then, and those that show a reason show this
// one. The statuses besides are
//
//	400  the time to live is missing or out of bounds, or there is a body
//	401  the session token is missing, wrong or expired
//	403  the request is not one of an AWS client
//	404  there is nothing at that path
//	405  the method is neither GET nor the PUT for a token
type IMDS struct {
	// Hosts are the values of the Host header that are accepted, with the port
	// where it is not 80: "127.0.0.1:41337", "169.254.169.254".
	Hosts []string

	Source Source
	Role   string // letters, digits and -; "" is aws-vault's "local-credentials"
	Region string // "" leaves out all that is made of it

	// V1 answers requests without a session token too, as version 1 of the
	// protocol does. Then whoever can make a program of this machine fetch a
	// URL can have the credentials.
	V1 bool

	Now func() time.Time // nil is time.Now
	Log *slog.Logger     // of what was turned away; nil logs nothing

	lines    throttle
	rendered answers

	once   sync.Once // for what follows
	now    func() time.Time
	fixed  map[string]*answer                        // by path
	made   map[string]func(cred.Credentials) *answer // by path, of credentials
	signer *signer
}

const (
	tokenPath   = "/latest/api/token"
	metadata    = "/latest/meta-data"
	identity    = "/latest/dynamic/instance-identity"
	instanceID  = "kura"
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTTL      = 21600 // seconds
)

func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.once.Do(m.prepare)
	if status, reason := check(r, m.Hosts, http.MethodGet, http.MethodPut); status != 0 {
		m.refuse(w, r, status, reason)
		return
	}
	path := strings.TrimSuffix(pathOf(r), "/")
	if strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	if isPut := r.Method == http.MethodPut; isPut != (path == tokenPath) {
		m.refuse(w, r, http.StatusMethodNotAllowed, "the method is not the one of that path")
		return
	} else if isPut {
		m.issue(w, r)
		return
	}
	if token, ok := r.Header[tokenHeader]; (ok || !m.V1) && (len(token) != 1 || !m.signer.isGood(token[0], m.unix())) {
		m.lines.warn(m.Log, "a request was refused", "there is no session token that is good", r.RemoteAddr)
		sendPage(w, http.StatusUnauthorized)
		return
	}
	if a, ok := m.fixed[path]; ok {
		a.send(w, http.StatusOK)
		return
	}
	render, ok := m.made[path]
	if !ok {
		sendPage(w, http.StatusNotFound)
		return
	}
	c, told, why := ask(r, m.Source)
	if told != nil {
		if path == identity+"/document" {
			render(cred.Credentials{}).send(w, http.StatusOK) // there is a region all the same
			return
		}
		m.lines.warn(m.Log, "credentials were denied", why.Error(), r.RemoteAddr)
		m.denial(told).send(w, http.StatusOK)
		return
	}
	m.rendered.get(path, c, render).send(w, http.StatusOK)
}

func (m *IMDS) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	m.lines.warn(m.Log, "a request was refused", reason, r.RemoteAddr)
	if status == http.StatusMethodNotAllowed && pathOf(r) == tokenPath {
		w.Header().Set("Allow", http.MethodPut)
	} else if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodGet)
	}
	hangUp(w)
	sendPage(w, status)
}

// prepare makes everything that does not depend on a request.
func (m *IMDS) prepare() {
	m.now = m.Now
	if m.now == nil {
		m.now = time.Now
	}
	role := m.Role
	if role == "" {
		role = "local-credentials"
	}
	const plain, extended = metadata + "/iam/security-credentials", metadata + "/iam/security-credentials-extended"
	texts := map[string]string{
		"":                        "latest",
		"/latest":                 "dynamic\nmeta-data",
		"/latest/dynamic":         "instance-identity/",
		identity:                  "document",
		metadata:                  "iam/\ninstance-id",
		metadata + "/iam":         "info\nsecurity-credentials/\nsecurity-credentials-extended/",
		metadata + "/instance-id": instanceID,
		plain:                     role,
		extended:                  role,
	}
	if m.Region != "" {
		texts[metadata] += "\nplacement/"
		texts[metadata+"/placement"] = "availability-zone\nregion"
		texts[metadata+"/placement/availability-zone"] = m.Region + "a"
		texts[metadata+"/placement/region"] = m.Region
	}
	m.fixed = map[string]*answer{}
	for path, text := range texts {
		m.fixed[path] = newAnswer(plainText, []byte(text))
	}
	m.made = map[string]func(cred.Credentials) *answer{
		plain + "/" + role:     func(c cred.Credentials) *answer { return m.credentials(c, "") },
		extended + "/" + role:  func(c cred.Credentials) *answer { return m.credentials(c, c.AccountID) },
		metadata + "/iam/info": m.info,
		identity + "/document": m.document,
	}
	key := make([]byte, sha256.Size)
	rand.Read(key)
	m.signer = &signer{mac: hmac.New(sha256.New, key)}
}

func (m *IMDS) credentials(c cred.Credentials, account string) *answer {
	return encode(struct {
		Code, LastUpdated, Type                         string
		AccessKeyId, SecretAccessKey, Token, Expiration string
		AccountId                                       string `json:",omitempty"`
	}{"Success", stamp(m.now()), "AWS-HMAC", c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), stamp(c.Expires), account})
}

func (m *IMDS) denial(d *Denial) *answer {
	return encode(struct{ Code, LastUpdated, Message string }{d.Code, stamp(m.now()), d.Message})
}

func (m *IMDS) info(cred.Credentials) *answer {
	return encode(struct{ Code, LastUpdated string }{"Success", stamp(m.now())})
}

func (m *IMDS) document(c cred.Credentials) *answer {
	zone := ""
	if m.Region != "" {
		zone = m.Region + "a"
	}
	return encode(struct {
		AccountID  string `json:"accountId,omitempty"`
		Zone       string `json:"availabilityZone,omitempty"`
		InstanceID string `json:"instanceId"`
		Region     string `json:"region,omitempty"`
		Version    string `json:"version"`
	}{c.AccountID, zone, instanceID, m.Region, "2017-09-30"})
}

// encode returns v in the type and the layout that EC2 has for it.
func encode(v any) *answer {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return newAnswer(plainText, body)
}

// sendPage sends a status as the service does where it has nothing else.
func sendPage(w http.ResponseWriter, status int) {
	title := fmt.Sprintf("%d - %s", status, http.StatusText(status))
	newAnswer(htmlText, fmt.Appendf(nil, "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n"+
		"<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>%s</title></head><body><h1>%[1]s</h1></body></html>\n", title)).send(w, status)
}

// issue answers with a session token.
func (m *IMDS) issue(w http.ResponseWriter, r *http.Request) {
	var ttl uint64
	if header := r.Header[ttlHeader]; len(header) == 1 {
		ttl, _ = strconv.ParseUint(header[0], 10, 16) // 0 if it is no number
	}
	if ttl < 1 || ttl > maxTTL {
		m.refuse(w, r, http.StatusBadRequest, "the time to live of the session token is missing or out of bounds")
		return
	}
	w.Header()[ttlHeader] = []string{strconv.FormatUint(ttl, 10)}
	newAnswer(plainText, m.signer.issue(m.unix()+ttl)).send(w, http.StatusOK)
}

func (m *IMDS) unix() uint64 { return uint64(m.now().Unix()) }

// A signer makes and checks session tokens: the second in which one expires,
// and the signature of that.
type signer struct {
	mu    sync.Mutex
	mac   hash.Hash
	token [tokenSize]byte
	sum   [sha256.Size]byte
}

const (
	expirySize = 8
	tokenSize  = expirySize + sha256.Size
)

// sign returns the signature of the expiry in s.token.
func (s *signer) sign() []byte {
	s.mac.Reset()
	s.mac.Write(s.token[:expirySize])
	return s.mac.Sum(s.sum[:0])
}

// issue returns a session token that expires at a Unix time.
func (s *signer) issue(expiry uint64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	binary.BigEndian.PutUint64(s.token[:], expiry)
	copy(s.token[expirySize:], s.sign())
	return base64.RawURLEncoding.AppendEncode(nil, s.token[:])
}

// isGood reports whether text is a session token of this signer that has not
// expired.
func (s *signer) isGood(text string, now uint64) bool {
	if len(text) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := base64.RawURLEncoding.Decode(s.token[:], []byte(text)); n != tokenSize || err != nil {
		return false
	}
	return hmac.Equal(s.token[expirySize:], s.sign()) && now < binary.BigEndian.Uint64(s.token[:])
}
