package serve

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"kura/internal/cred"
)

// A Container is the endpoint that SDKs ask at the URL in
// AWS_CONTAINER_CREDENTIALS_FULL_URI, with the token in
// AWS_CONTAINER_AUTHORIZATION_TOKEN as the whole Authorization header:
//
//	GET /role-arn/ARN   session credentials of that role, if there are Roles
//	GET /profile/NAME   those of one of the Profiles
//	GET anything else   those of Source, if there is one
//
// ARN and NAME may hold slashes, and may be percent-encoded. Other paths that a
// client or a proxy on the way could take for one of the two ("//profile/x",
// "/./profile/x", "/%70rofile/x") are refused, so that nobody gets the
// credentials of Source in place of those he meant.
//
// The answer has AccessKeyId, SecretAccessKey, Token and Expiration, which some
// SDKs don't do without, RoleArn where it was asked for and AccountId where it
// is known. Anything but an answer is {"code", "message"}, as SDKs show it,
// with the message once more under the name that aws-vault has for it:
//
//	400  the ARN is none, the path is ambiguous, or there is a body
//	403  the token is wrong, the request is not one of an AWS client, or the
//	     source denies credentials
//	404  there is no such profile, or nothing at that path
//	405  the method is not GET
//
// The SDKs for Go and Rust take these as final; botocore asks three times and
// the SDK for JavaScript five, whatever the status is. There is no 500, after
// which the former would ask nine times.
type Container struct {
	// Token is what a request must bring. Without one nothing is served.
	Token cred.Secret

	// Hosts are the values of the Host header that are accepted, with the port
	// where it is not 80: "127.0.0.1:41337".
	Hosts []string

	Source   Source            // nil serves only what has a name
	Profiles map[string]Source // by the name in the path

	// Roles returns session credentials of a role, or an error as a Source
	// does. It is asked for every well-formed ARN, and each time. Nil serves
	// no roles.
	Roles func(ctx context.Context, arn string) (cred.Credentials, error)

	Log *slog.Logger // of what was turned away; nil logs nothing

	lines    throttle
	rendered answers
}

func (c *Container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status, reason := check(r, c.Hosts, http.MethodGet); status != 0 {
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodGet)
		}
		c.refuse(w, r, status, "RequestRefused", reason)
		return
	}
	if !c.authorized(r.Header["Authorization"]) {
		c.refuse(w, r, http.StatusForbidden, "InvalidToken", "the Authorization header is not the token of this server")
		return
	}
	path := pathOf(r)
	source, arn := c.Source, ""
	switch {
	case strings.HasPrefix(path, "/role-arn/"):
		if arn, _ = url.PathUnescape(path[len("/role-arn/"):]); !isRoleARN(arn) {
			c.refuse(w, r, http.StatusBadRequest, "InvalidRoleArn", "what follows /role-arn/ is not the ARN of a role")
			return
		}
		source = nil
		if c.Roles != nil {
			source = func(ctx context.Context) (cred.Credentials, error) { return c.Roles(ctx, arn) }
		}
	case strings.HasPrefix(path, "/profile/"):
		name, _ := url.PathUnescape(path[len("/profile/"):])
		source = c.Profiles[name]
	case !isPlain(path):
		c.refuse(w, r, http.StatusBadRequest, "InvalidPath", "the path is ambiguous")
		return
	default:
		path = "" // all of them have one answer
	}
	if source == nil {
		c.refuse(w, r, http.StatusNotFound, "NotFound", "nothing is served at that path")
		return
	}
	credentials, told, why := ask(r, source)
	if told != nil {
		c.lines.warn(c.Log, "credentials were denied", why.Error(), r.RemoteAddr)
		sendDenial(w, http.StatusForbidden, told)
		return
	}
	c.rendered.get(path, credentials, func(credentials cred.Credentials) *answer {
		return renderContainer(credentials, arn)
	}).send(w, http.StatusOK)
}

func (c *Container) refuse(w http.ResponseWriter, r *http.Request, status int, code, reason string) {
	c.lines.warn(c.Log, "a request was refused", reason, r.RemoteAddr)
	hangUp(w)
	sendDenial(w, status, &Denial{code, reason})
}

// authorized compares the token in a time that does not depend on how much of
// it is right.
func (c *Container) authorized(header []string) bool {
	return len(header) == 1 && !c.Token.IsZero() &&
		subtle.ConstantTimeCompare([]byte(header[0]), []byte(c.Token.Reveal())) == 1
}

func renderContainer(c cred.Credentials, arn string) *answer {
	body, err := json.Marshal(struct {
		AccessKeyId, SecretAccessKey, Token, Expiration string
		RoleArn                                         string `json:",omitempty"`
		AccountId                                       string `json:",omitempty"`
	}{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), stamp(c.Expires), arn, c.AccountID})
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return newAnswer(jsonText, body)
}

func sendDenial(w http.ResponseWriter, status int, d *Denial) {
	body, err := json.Marshal(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Legacy  string `json:"Message"`
	}{d.Code, d.Message, d.Message})
	if err != nil {
		panic(err) // strings can always be encoded
	}
	newAnswer(jsonText, body).send(w, status)
}

// isPlain reports whether a path can be meant in one way only: it has no
// segments that somebody would leave out, and nothing is encoded.
func isPlain(path string) bool {
	if strings.ContainsAny(path, `%\`) || path == "/role-arn" || path == "/profile" {
		return false
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && path != "/" {
			return false
		}
	}
	return true
}

// isRoleARN reports whether s has the form of the ARN of a role:
// arn:PARTITION:iam::ACCOUNT:role/PATH/NAME.
func isRoleARN(s string) bool {
	part := strings.SplitN(s, ":", 6)
	if len(s) > 2048 || len(part) != 6 || part[0] != "arn" || part[2] != "iam" || part[3] != "" {
		return false
	}
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return strings.HasPrefix(part[1], "aws") && len(part[4]) == 12 && strings.Trim(part[4], "0123456789") == "" &&
		strings.HasPrefix(part[5], "role/") && !strings.HasSuffix(part[5], "/")
}
