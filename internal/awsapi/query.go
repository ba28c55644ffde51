package awsapi

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"

	"kura/internal/cred"
)

// A query is a call in the query protocol, which STS and IAM speak: the
// parameters are a form, the answer is XML. See
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html.
type query struct {
	service string // as it is signed for: "sts"
	version string // of the API: "2011-06-15"
	action  string // "AssumeRole"
	params  url.Values

	from    cred.Credentials // if zero, the call is not signed
	once    bool             // see request
	secrets []cred.Secret    // among the parameters
}

// An answer is what a query hopes for: a value that encoding/xml decodes the
// result element of the reply into.
type answer interface {
	complete() bool // all that AWS always gives is there
}

// query makes the call q and stores its answer in out, which is nil for a call
// that has no result.
func (c *Client) query(ctx context.Context, to target, q query, out answer) error {
	q.params.Set("Action", q.action)
	q.params.Set("Version", q.version)
	return c.do(ctx, request{
		op:      q.service + ":" + q.action,
		to:      to,
		service: q.service,
		method:  http.MethodPost,
		header:  http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
		body:    []byte(q.params.Encode()),
		from:    q.from,
		once:    q.once,
		secrets: append(q.secrets, q.from.SecretAccessKey, q.from.SessionToken),
		read: func(r reply) *Error {
			if r.status == http.StatusOK {
				if decodeResult(r.body, q.action, out) != nil || out != nil && !out.complete() {
					return r.notAWS()
				}
				return nil
			}
			var refusal struct {
				XMLName   xml.Name `xml:"ErrorResponse"`
				Code      string   `xml:"Error>Code"`
				Message   string   `xml:"Error>Message"`
				RequestID string   `xml:"RequestId"`
			}
			if xml.Unmarshal(r.body, &refusal) != nil || refusal.Code == "" {
				return r.notAWS()
			}
			return r.refused(refusal.Code, refusal.Message, refusal.RequestID)
		},
	})
}

// decodeResult decodes <ActionResponse><ActionResult>…, and nothing else, into
// out. Other elements than the result are skipped. If out is nil there is none.
func decodeResult(body []byte, action string, out answer) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	depth, begun, found := 0, false, out == nil
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && begun && found {
			return nil
		}
		if err != nil {
			return err // io.EOF comes at the end of a complete document only
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch {
			case depth == 0 && t.Name.Local == action+"Response" && !begun:
				begun = true
				depth++
			case depth == 1 && t.Name.Local == action+"Result" && !found:
				found = true
				if err := d.DecodeElement(out, &t); err != nil {
					return err
				}
			case depth == 1:
				if err := d.Skip(); err != nil {
					return err
				}
			default:
				return errors.New("unexpected element " + t.Name.Local)
			}
		case xml.EndElement:
			depth--
		}
	}
}
