package awstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the query protocol, which STS and IAM speak: parameters in a
// form, replies in XML.
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html

// queryOp returns the operation that a request asks for.
func queryOp(rq *request) string { return rq.params.Get("Action") }

// checkQuery refuses requests that no service of the protocol takes.
func checkQuery(rq *request, version string) error {
	if rq.op == "" || rq.params.Get("Version") != version {
		return invalidAction(rq)
	}
	if rq.Method != http.MethodPost && rq.Method != http.MethodGet {
		return refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "the method %s is not allowed", rq.Method)
	}
	return nil
}

func invalidAction(rq *request) error {
	return refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", rq.op, rq.params.Get("Version"))
}

// queryReply returns a reply of the operation rq.op, with result encoded as
// its result. A nil result leaves that out, as operations without output do.
func queryReply(rq *request, namespace string, result any) *reply {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>\n", rq.op, namespace)
	if result != nil {
		e := xml.NewEncoder(&b)
		if err := e.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: rq.op + "Result"}}); err != nil {
			panic(err) // plain data always encodes
		}
	}
	fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata>\n</%sResponse>\n", requestID(), rq.op)
	return &reply{http.StatusOK, "text/xml", b.Bytes()}
}

func queryFail(namespace string) func(*request, *refusal) *reply {
	return func(_ *request, e *refusal) *reply {
		kind := "Sender"
		if e.status >= 500 {
			kind = "Receiver"
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "<ErrorResponse xmlns=%q>\n  <Error>\n    <Type>%s</Type>\n    <Code>%s</Code>\n    <Message>", namespace, kind, e.code)
		xml.EscapeText(&b, []byte(e.message))
		fmt.Fprintf(&b, "</Message>\n  </Error>\n  <RequestId>%s</RequestId>\n</ErrorResponse>\n", requestID())
		return &reply{e.status, "text/xml", b.Bytes()}
	}
}

// xmlTime is how AWS writes times in XML.
func xmlTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// An invalidParam is AWS's refusal of a parameter, by name with a lower-case
// first letter. Values that may be secret must not be passed.
func invalidParam(name, value, rule string, args ...any) *refusal {
	name = strings.ToLower(name[:1]) + name[1:]
	return refuse(http.StatusBadRequest, "ValidationError", "1 validation error detected: Value %s at '%s' failed to satisfy constraint: Member must %s", value, name, fmt.Sprintf(rule, args...))
}

// intParam returns a parameter that is a number of min to max, or what it is
// when not sent.
func (rq *request) intParam(name string, otherwise, min, max int) (int, error) {
	s := rq.params.Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return 0, refuse(http.StatusBadRequest, "MalformedInput", "'%s' is not a number", s)
	case n < min:
		return 0, invalidParam(name, "'"+s+"'", "have value greater than or equal to %d", min)
	case n > max:
		return 0, invalidParam(name, "'"+s+"'", "have value less than or equal to %d", max)
	}
	return n, nil
}

// textParam returns a parameter that must be sent and be of min to max
// characters, all of them letters, digits or in also.
func (rq *request) textParam(name string, min, max int, also string) (string, error) {
	if !rq.params.Has(name) {
		return "", invalidParam(name, "null", "not be null")
	}
	return rq.optionalParam(name, min, max, also)
}

// optionalParam is textParam for a parameter that may be left out.
func (rq *request) optionalParam(name string, min, max int, also string) (string, error) {
	s := rq.params.Get(name)
	if !rq.params.Has(name) {
		return "", nil
	}
	quoted := "'" + s + "'"
	switch {
	case len(s) < min:
		return "", invalidParam(name, quoted, "have length greater than or equal to %d", min)
	case len(s) > max:
		return "", invalidParam(name, quoted, "have length less than or equal to %d", max)
	case strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(also, r))
	}):
		return "", invalidParam(name, quoted, `satisfy regular expression pattern: [\w%s]*`, strings.TrimPrefix(also, "_"))
	}
	return s, nil
}

// members returns the parameters PREFIX.member.1 and so on, each as a function
// from the rest of a name to its value.
func (rq *request) members(prefix string) []func(rest string) string {
	var all []func(string) string
	for n := 1; ; n++ {
		start := fmt.Sprintf("%s.member.%d", prefix, n)
		found := rq.params.Has(start)
		for name := range rq.params {
			found = found || strings.HasPrefix(name, start+".")
		}
		if !found {
			return all
		}
		all = append(all, func(rest string) string { return rq.params.Get(start + rest) })
	}
}

// notAuthorized is how AWS refuses what no policy allows.
func notAuthorized(rq *request, action, resource, because string) *refusal {
	return refuse(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s%s", rq.key.who.arn, action, resource, because)
}

const (
	notAllowed = " because no identity-based policy allows the action"
	denied     = " with an explicit deny in an identity-based policy"

	deniedByOrganization = " with an explicit deny in a service control policy"
)

// denies reports whether the policies of p deny an action.
func (p principal) denies(action string) bool {
	if p.user != nil {
		return slices.Contains(p.user.Deny, action)
	}
	return slices.Contains(p.role.Deny, action)
}
