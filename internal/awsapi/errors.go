package awsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// An Error says why a call of AWS has no result. All errors of a Client's
// methods are of this type.
type Error struct {
	Op      string // such as "sts:AssumeRole"
	Kind    Kind
	Code    string // AWS's own, such as "AccessDenied"; "" if it isn't AWS that refused
	Message string // in AWS's words when Code is set; one line, without secrets

	RequestID string // "" when not known
	Status    int    // of HTTP; 0 if there was no reply

	// Err is the cause where there is one below: of the network, the context
	// or the file system. It is not part of the text.
	Err error

	transient bool // another attempt may succeed
}

// Error returns "sts:AssumeRole: AccessDenied: message" or, without a code,
// "sts:AssumeRole: https://host: no answer within 6s".
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Op + ": " + e.Message
	}
	if e.Message == "" {
		return e.Op + ": " + e.Code
	}
	return e.Op + ": " + e.Code + ": " + e.Message
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// NoSuchEntity reports whether IAM knows nothing of what the call was about.
func (e *Error) NoSuchEntity() bool { return e.Code == "NoSuchEntity" }

// MayBeDone reports whether the call may have had its effect all the same: AWS
// did not say that it has refused it.
func (e *Error) MayBeDone() bool {
	return e.Kind == Unavailable || e.Kind == Unreachable || e.Kind == Other && e.Code == ""
}

// A Kind is what an Error means to whoever has to do something about it.
type Kind int

// The kinds of errors.
const (
	Other           Kind = iota
	Denied               // a policy doesn't allow it, or asks for MFA: AWS doesn't say which
	TokenCodeNeeded      // a token code or the MFA serial is missing
	BadTokenCode         // wrong, too old or already used
	BadMFASerial         // no such device of this user, or too many codes in a short time
	Expired              // the session credentials or the identity token have expired
	InvalidKey           // AWS doesn't know the access key, or the secret is not the one that belongs to it
	ClockSkew            // the time is wrong, and correcting it by AWS's clock didn't help
	Throttled            // too many requests
	Unavailable          // AWS has a problem of its own
	Unreachable          // AWS did not answer, or something else answered
	Invalid              // a parameter or setting is not acceptable, to AWS or before it is asked
)

// String returns the name of k.
func (k Kind) String() string {
	switch k {
	case Other:
		return "Other"
	case Denied:
		return "Denied"
	case TokenCodeNeeded:
		return "TokenCodeNeeded"
	case BadTokenCode:
		return "BadTokenCode"
	case BadMFASerial:
		return "BadMFASerial"
	case Expired:
		return "Expired"
	case InvalidKey:
		return "InvalidKey"
	case ClockSkew:
		return "ClockSkew"
	case Throttled:
		return "Throttled"
	case Unavailable:
		return "Unavailable"
	case Unreachable:
		return "Unreachable"
	case Invalid:
		return "Invalid"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// refused returns the error for what AWS itself refused.
func (r reply) refused(code, message, requestID string) *Error {
	e := &Error{
		Op:        r.request.op,
		Kind:      kind(r.status, code, message, r.drift),
		Code:      r.request.text(code, 80),
		Message:   r.request.text(message, 1000),
		RequestID: r.request.text(requestID, 80),
		Status:    r.status,
	}
	e.transient = e.Kind == Throttled || e.Kind == Unavailable
	return e
}

// kind classifies a refusal. The codes are those of
// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html and of
// the AWS SDKs' retry rules. STS says only in its message what is wrong with a
// token code.
func kind(status int, code, message string, drift time.Duration) Kind {
	switch code {
	case "AccessDenied", "AccessDeniedException":
		switch {
		case strings.HasPrefix(message, "MultiFactorAuthentication failed with invalid MFA one time pass code"):
			return BadTokenCode
		case strings.HasPrefix(message, "MultiFactorAuthentication failed, must provide"):
			return TokenCodeNeeded
		case strings.HasPrefix(message, "MultiFactorAuthentication failed, unable to validate"):
			return BadMFASerial
		}
		return Denied
	case "ExpiredToken", "ExpiredTokenException":
		return Expired
	case "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture":
		return ClockSkew
	case "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure":
		// Some services say what is wrong with the time, some just compare.
		if strings.HasPrefix(message, "Signature expired") || strings.HasPrefix(message, "Signature not yet current") || drift.Abs() > skewThreshold {
			return ClockSkew
		}
		if strings.HasPrefix(message, "Credential should be scoped") {
			return Invalid // the region of the signature is not the server's
		}
		return InvalidKey
	case "InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException",
		"IncompleteSignature": // an access key ID that has not the form of one
		return InvalidKey
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "SlowDown", "PriorRequestNotComplete":
		return Throttled
	case "RequestTimeout", "RequestTimeoutException", "IDPCommunicationError":
		return Unavailable
	case "ValidationError", "ValidationException", "InvalidParameterValue", "MalformedPolicyDocument", "PackedPolicyTooLarge":
		return Invalid
	}
	switch {
	case status == http.StatusTooManyRequests:
		return Throttled
	case status >= 500:
		return Unavailable
	}
	return Other
}

// notAWS returns the error for a reply that AWS would not give: the page of a
// captive portal, a proxy or a load balancer. It says who answered what. The
// body is not quoted but for a page's title, since a reply that was not
// understood may hold credentials.
func (r reply) notAWS() *Error {
	var about []string
	if t := r.request.text(r.header.Get("Content-Type"), 60); t != "" {
		about = append(about, t)
	}
	if t := r.request.text(title(r.body), 60); t != "" {
		about = append(about, strconv.Quote(t))
	}
	if to, err := url.Parse(r.header.Get("Location")); err == nil && to.Host != "" {
		about = append(about, "redirecting to "+r.request.text(to.Host, 100))
	}
	message := r.request.to.host() + ": not an answer of AWS: " + strings.TrimSpace(strconv.Itoa(r.status)+" "+http.StatusText(r.status))
	if len(about) > 0 {
		message += " (" + strings.Join(about, ", ") + ")"
	}
	return &Error{
		Op:        r.request.op,
		Kind:      Unreachable,
		Message:   message,
		Status:    r.status,
		transient: r.status >= 500 || r.status == http.StatusTooManyRequests,
	}
}

// title returns what the title element of an HTML page says.
func title(page []byte) string {
	for _, tag := range []string{"title>", "TITLE>"} {
		if _, rest, ok := strings.Cut(string(page), "<"+tag); ok {
			text, _, _ := strings.Cut(rest, "<")
			return text
		}
	}
	return ""
}

// unreachable returns the error for a request that got no reply: err is what
// the HTTP client said, after the time given.
func (r request) unreachable(err error, after time.Duration) *Error {
	e := &Error{Op: r.op, Kind: Unreachable, Err: err, transient: true}
	var text string
	dns, badName := errors.AsType[*net.DNSError](err)
	_, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.transient, text = Other, false, "canceled"
	case errors.Is(err, errProxy):
		e.Kind, e.transient, text = Invalid, false, errProxy.Error()
	case badName && dns.IsNotFound:
		e.transient, text = false, "no such host"
	case errors.Is(err, context.DeadlineExceeded), timeout != nil && timeout.Timeout():
		text = "no answer within " + after.Round(100*time.Millisecond).String()
	case badName:
		text = "the name was not resolved: " + dns.Err
	case badCertificate:
		e.transient, text = false, "certificate not accepted: "+innermost(err).Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = "connection closed before the answer was complete"
	default:
		text = innermost(err).Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		text = "proxy: " + text
	}
	e.Message = r.to.host() + ": " + r.text(text, 300)
	return e
}

// innermost returns the error that all others around it wrap: what the system
// said, without the operations and addresses that Go puts before it.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// text returns s as it may be shown: without the secrets of the request, which
// a service may quote (some print the canonical request, session token and
// all, when a signature doesn't match), and printable.
func (r request) text(s string, most int) string {
	for _, secret := range r.secrets {
		if text := secret.Reveal(); len(text) >= 6 { // a token code; all others are longer
			s = strings.ReplaceAll(s, text, "[secret]")
		}
	}
	return printable(s, most)
}

// printable returns the first line of s made fit for a terminal: without
// control characters, and cut to the given number of bytes.
func printable(s string, most int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
