package awstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// This file is the sign-in to the console with session credentials: the
// federation endpoint and what a browser gets there. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_enable-console-custom-url.html

// signinValid is how long a sign-in token is good for. Whether it is so more than
// once is not documented; here it is.
const signinValid = 15 * time.Minute

const (
	minConsole = 900   // seconds that a console session of a role can last
	maxConsole = 43200 // the same
)

// A signinToken is what the federation endpoint has given out.
type signinToken struct {
	who     principal
	made    time.Time
	expires time.Time // of the console session
}

// isSignin reports whether a request is for the sign-in, which is told by its
// path: nothing there is signed.
func isSignin(path string) bool { return path == "/federation" || path == "/oauth" }

func signinService() service {
	return service{"signin", queryOp, (*Cloud).signin, signinFail}
}

func (c *Cloud) signin(rq *request) (*reply, error) {
	switch {
	case rq.URL.Path == "/federation" && rq.op == "getSigninToken":
		return c.getSigninToken(rq)
	case rq.URL.Path == "/federation" && rq.op == "login" && rq.Method == http.MethodGet:
		return c.login(rq)
	case rq.URL.Path == "/oauth" && rq.op == "logout" && rq.Method == http.MethodGet:
		return page(http.StatusOK, signedOut, nil), nil
	}
	return nil, refuse(http.StatusBadRequest, "BadRequest", "the request is not one of the sign-in")
}

// getSigninToken takes session credentials of any kind, and no access key. AWS
// documents SessionDuration for roles that an access key has assumed, and for
// nothing else.
func (c *Cloud) getSigninToken(rq *request) (*reply, error) {
	if rq.Method != http.MethodPost && rq.Method != http.MethodGet {
		return nil, refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "the method %s is not allowed", rq.Method)
	}
	var session struct{ SessionID, SessionKey, SessionToken string }
	if err := json.Unmarshal([]byte(rq.params.Get("Session")), &session); err != nil {
		return nil, refuse(http.StatusBadRequest, "InvalidSession", "Invalid Credentials Parameter")
	}
	k := c.keys[session.SessionID]
	switch {
	case k == nil, k.token == "", k.token != session.SessionToken, k.secret != session.SessionKey, !rq.now.Before(k.expires):
		return nil, refuse(http.StatusBadRequest, "InvalidSession", "Invalid Credentials Parameter")
	}
	token := signinToken{who: k.who, made: rq.now, expires: k.expires}
	if rq.params.Has("SessionDuration") {
		seconds, err := strconv.Atoi(rq.params.Get("SessionDuration"))
		if err != nil || seconds < minConsole || seconds > maxConsole || k.who.role == nil || k.who.chained {
			return nil, refuse(http.StatusBadRequest, "InvalidDuration", "Invalid Credentials Parameter")
		}
		token.expires = rq.now.Add(time.Duration(seconds) * time.Second)
	}
	text := "VCQgs5qZZt3Q" + strings.NewReplacer("+", "-", "/", "_").Replace(randomBase64(600))
	c.signins[text] = token
	c.secrets = append(c.secrets, text)
	body, err := json.Marshal(map[string]string{"SigninToken": text})
	if err != nil {
		panic(err) // plain data always encodes
	}
	return &reply{http.StatusOK, "application/json", body}, nil
}

// login is what a browser gets for a sign-in URL: a page that says who is signed
// in, in place of the console.
func (c *Cloud) login(rq *request) (*reply, error) {
	token, ok := c.signins[rq.params.Get("SigninToken")]
	if !ok || rq.now.After(token.made.Add(signinValid)) {
		return nil, refuse(http.StatusBadRequest, "InvalidToken", "The sign-in token is not valid any more.")
	}
	destination, err := url.Parse(rq.params.Get("Destination"))
	if err != nil || destination.Scheme != "https" || !isConsole(destination.Host) {
		return nil, refuse(http.StatusBadRequest, "InvalidDestination", "The destination is not a page of the console.")
	}
	region := destination.Query().Get("region")
	if region == "" {
		region = "no region"
	}
	return page(http.StatusOK, signedIn, map[string]string{
		"ARN":         token.who.arn,
		"Region":      region,
		"Destination": destination.String(),
		"Issuer":      rq.params.Get("Issuer"),
		"Lasts":       token.expires.Sub(rq.now).Round(time.Minute).String(),
	}), nil
}

// isConsole reports whether a host is one of the console's.
func isConsole(host string) bool {
	for _, domain := range []string{"console.aws.amazon.com", "console.amazonaws.cn", "console.amazonaws-us-gov.com", "console.amazonaws-eusc.eu"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

const (
	signedIn  = `<p id="signed-in">Signed in as {{.ARN}} in {{.Region}} for {{.Lasts}}, destination {{.Destination}}, from {{.Issuer}}.</p>`
	signedOut = `<p id="signed-out">Signed out.</p>`
	refused   = `<p>{{.Message}}</p>`
)

func page(status int, body string, data any) *reply {
	var b bytes.Buffer
	text := fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>Emulated AWS console</title><link rel=\"icon\" href=\"data:,\"></head><body>%s</body></html>\n", body)
	if err := template.Must(template.New("").Parse(text)).Execute(&b, data); err != nil {
		panic(err) // the templates are those above
	}
	return &reply{status, "text/html; charset=utf-8", b.Bytes()}
}

func signinFail(_ *request, e *refusal) *reply {
	return page(e.status, refused, map[string]string{"Message": e.message})
}
