package awsapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kura/internal/cred"
)

// OpSigninToken is the Op of errors of SigninToken.
const OpSigninToken = "signin:getSigninToken"

// SigninToken returns what signs a browser in to the console with session
// credentials, within the next 15 minutes. Endpoint is the URL of the federation
// endpoint. Lasts is how long the console is to be open; 0 is for as long as the
// credentials last, and the only choice for those that did not come from an
// access key by way of AssumeRole.
//
// The credentials go in the body of the request: a URL is noted by each proxy on
// its way.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_enable-console-custom-url.html
func (c *Client) SigninToken(ctx context.Context, from cred.Credentials, endpoint string, lasts time.Duration) (cred.Secret, error) {
	to, err := endpointURL(endpoint)
	if err != nil {
		return cred.Secret{}, &Error{Op: OpSigninToken, Kind: Invalid, Message: err.Error()}
	}
	session, err := json.Marshal(map[string]string{
		"sessionId":    from.AccessKeyID,
		"sessionKey":   from.SecretAccessKey.Reveal(),
		"sessionToken": from.SessionToken.Reveal(),
	})
	if err != nil {
		return cred.Secret{}, &Error{Op: OpSigninToken, Kind: Invalid, Message: "the credentials can't be encoded"}
	}
	params := url.Values{"Action": {"getSigninToken"}, "Session": {string(session)}}
	if lasts != 0 {
		params.Set("SessionDuration", strconv.Itoa(int(lasts/time.Second)))
	}
	var token cred.Secret
	err = c.do(ctx, request{
		op:      OpSigninToken,
		to:      target{url: to},
		method:  http.MethodPost,
		header:  http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}, "Accept": {"application/json"}},
		body:    []byte(params.Encode()),
		secrets: []cred.Secret{from.SecretAccessKey, from.SessionToken},
		read: func(r reply) *Error {
			var out struct{ SigninToken string }
			switch {
			case r.status == http.StatusOK && json.Unmarshal(r.body, &out) == nil && out.SigninToken != "":
				token = cred.NewSecret(out.SigninToken)
				return nil
			case r.status == http.StatusBadRequest, r.status == http.StatusForbidden:
				// All that AWS says is a page of HTML without a reason.
				return &Error{
					Op: OpSigninToken, Kind: Denied, Status: r.status,
					Message: strings.TrimSpace(to.Host + ": the console does not take these credentials: " + strconv.Itoa(r.status) + " " + http.StatusText(r.status)),
				}
			}
			return r.notAWS()
		},
	})
	return token, err
}
