package awstest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	nameChars    = "_+=,.@-" // beside letters and digits, in names of sessions

	roleMax    = 43200  // seconds that a session of a role can last
	chainedMax = 3600   // the same for role chaining
	userMax    = 129600 // seconds that a session of a user can last
)

// stsService is https://docs.aws.amazon.com/STS/latest/APIReference/.
func stsService() service {
	return service{"sts", queryOp, (*Cloud).sts, queryFail(stsNamespace)}
}

func (c *Cloud) sts(rq *request) (*reply, error) {
	if err := checkQuery(rq, stsVersion); err != nil {
		return nil, err
	}
	if rq.op == "AssumeRoleWithWebIdentity" {
		return c.assumeRoleWithWebIdentity(rq)
	}
	if rq.key == nil {
		return nil, refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	if rq.key.who.federated && rq.op != "GetCallerIdentity" {
		return nil, notAuthorized(rq, "sts:"+rq.op, "*", "")
	}
	switch rq.op {
	case "GetSessionToken":
		return c.getSessionToken(rq)
	case "GetFederationToken":
		return c.getFederationToken(rq)
	case "AssumeRole":
		return c.assumeRole(rq)
	case "GetCallerIdentity":
		return c.getCallerIdentity(rq)
	case "GetAccessKeyInfo":
		return c.getAccessKeyInfo(rq)
	}
	return nil, invalidAction(rq)
}

type credentials struct {
	AccessKeyId     string
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func credentialsOf(k *key) credentials {
	return credentials{k.id, k.secret, k.token, xmlTime(k.expires)}
}

type assumedRoleUser struct {
	AssumedRoleId string
	Arn           string
}

// checkMFA reports whether a call shows an MFA device. A code that is right
// is used then, whatever becomes of the call.
func (c *Cloud) checkMFA(rq *request) (bool, error) {
	serial, err := rq.optionalParam("SerialNumber", 9, 256, "_+=/:,.@-")
	if err != nil {
		return false, err
	}
	code := rq.params.Get("TokenCode")
	if rq.params.Has("TokenCode") && (len(code) != 6 || strings.Trim(code, "0123456789") != "") {
		// AWS quotes the code here; it may be anything a user typed, so this
		// does not.
		return false, invalidParam("TokenCode", "'******'", `satisfy regular expression pattern: [\d]*`)
	}
	if serial == "" && code == "" {
		return false, nil
	}
	if serial == "" || code == "" {
		return false, refuse(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	d := c.devices[serial]
	if d == nil || d.owner != rq.key.who.user {
		// This is also what a role gets: it owns no device.
		return false, refuse(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
	}
	if !d.accept(code, rq.now) {
		return false, refuse(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	}
	return true, nil
}

func (c *Cloud) getSessionToken(rq *request) (*reply, error) {
	if rq.key.token != "" {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	seconds, err := rq.intParam("DurationSeconds", 43200, 900, userMax)
	if err != nil {
		return nil, err
	}
	mfa, err := c.checkMFA(rq)
	if err != nil {
		return nil, err
	}
	who := rq.key.who
	who.mfa = mfa
	return queryReply(rq, stsNamespace, struct{ Credentials credentials }{
		credentialsOf(c.issue(who, rq.now, seconds)),
	}), nil
}

// getFederationToken gives a session that can't call IAM, nor STS but for
// GetCallerIdentity.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html
func (c *Cloud) getFederationToken(rq *request) (*reply, error) {
	if rq.key.token != "" {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Cannot call GetFederationToken with session credentials")
	}
	name, err := rq.textParam("Name", 2, 32, nameChars)
	if err != nil {
		return nil, err
	}
	seconds, err := rq.intParam("DurationSeconds", 43200, 900, userMax)
	if err != nil {
		return nil, err
	}
	packed, packs, err := rq.packedPolicySize(nil)
	if err != nil {
		return nil, err
	}
	if rq.key.who.denies("sts:GetFederationToken") {
		return nil, notAuthorized(rq, "sts:GetFederationToken", "arn:aws:sts::"+rq.key.who.account+":federated-user/"+name, denied)
	}
	who := rq.key.who
	who.federated = true
	who.arn = "arn:aws:sts::" + who.account + ":federated-user/" + name
	who.userID = who.account + ":" + name
	return queryReply(rq, stsNamespace, struct {
		Credentials      credentials
		FederatedUser    struct{ FederatedUserId, Arn string }
		PackedPolicySize *int `xml:",omitempty"`
	}{
		credentialsOf(c.issue(who, rq.now, seconds)),
		struct{ FederatedUserId, Arn string }{who.userID, who.arn},
		roleRequest{packed: packed, packs: packs}.packedSize(),
	}), nil
}

func (c *Cloud) getCallerIdentity(rq *request) (*reply, error) {
	who := rq.key.who
	return queryReply(rq, stsNamespace, struct{ Arn, UserId, Account string }{who.arn, who.userID, who.account}), nil
}

// getAccessKeyInfo knows the keys of this Cloud only. AWS reads the account
// out of any key's ID.
func (c *Cloud) getAccessKeyInfo(rq *request) (*reply, error) {
	id, err := rq.textParam("AccessKeyId", 16, 128, "_")
	if err != nil {
		return nil, err
	}
	if rq.key.token != "" && rq.key.who.user != nil {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Cannot call GetAccessKeyInfo with session credentials")
	}
	k := c.keys[id]
	if k == nil {
		return nil, refuse(http.StatusBadRequest, "ValidationError", "the access key %s is not known", id)
	}
	return queryReply(rq, stsNamespace, struct{ Account string }{k.who.account}), nil
}

// A roleRequest is what the calls that assume a role have in common.
type roleRequest struct {
	arn, session string
	seconds      int
	packed       int  // PackedPolicySize, percent
	packs        bool // there is something to pack
}

func (rq *request) roleRequest(tags []tag) (roleRequest, error) {
	var q roleRequest
	var err error
	if q.arn, err = rq.textParam("RoleArn", 20, 2048, "_+=/:,.@-"); err != nil {
		return q, err
	}
	if parts := strings.SplitN(q.arn, ":", 6); len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") {
		return q, refuse(http.StatusBadRequest, "ValidationError", "%s is invalid", q.arn)
	}
	if q.session, err = rq.textParam("RoleSessionName", 2, 64, nameChars); err != nil {
		return q, err
	}
	if q.seconds, err = rq.intParam("DurationSeconds", 3600, 900, roleMax); err != nil {
		return q, err
	}
	q.packed, q.packs, err = rq.packedPolicySize(tags)
	return q, err
}

// packedPolicySize returns how much of the space for session policies and
// tags a request takes, in percent. How AWS packs is not published; this
// counts plain bytes, of 2048.
func (rq *request) packedPolicySize(tags []tag) (percent int, packs bool, err error) {
	const space = 2048
	policy := rq.params.Get("Policy")
	if len(policy) > space {
		return 0, false, invalidParam("Policy", "'…'", "have length less than or equal to %d", space)
	}
	if policy != "" && !json.Valid([]byte(policy)) {
		return 0, false, refuse(http.StatusBadRequest, "MalformedPolicyDocument", "Syntax errors in policy.")
	}
	size := len(policy)
	arns := rq.members("PolicyArns")
	if len(arns) > 10 {
		return 0, false, invalidParam("PolicyArns", "'…'", "have length less than or equal to 10")
	}
	for _, arn := range arns {
		if !strings.HasPrefix(arn(".arn"), "arn:") {
			return 0, false, refuse(http.StatusBadRequest, "ValidationError", "ARN %s is not valid.", arn(".arn"))
		}
		size += len(arn(".arn"))
	}
	for _, t := range tags {
		size += len(t.key) + len(t.value)
	}
	percent = (size*100 + space - 1) / space
	if percent > 100 {
		return 0, false, refuse(http.StatusBadRequest, "PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
	}
	return percent, size > 0, nil
}

// packedSize returns what a reply says of it: nothing when nothing was packed.
func (q roleRequest) packedSize() *int {
	if !q.packs {
		return nil
	}
	return &q.packed
}

type tag struct{ key, value string }

// sessionTags returns the tags of a request and those of them that the next
// session inherits, checked by the rules of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
func (rq *request) sessionTags() (tags []tag, transitive map[string]string, err error) {
	inherited := rq.key.who.transitive
	seen := map[string]tag{}
	for _, m := range rq.members("Tags") {
		t := tag{m(".Key"), m(".Value")}
		if n := utf8.RuneCountInString(t.key); n < 1 || n > 128 || strings.ContainsFunc(t.key, notInTag) || strings.HasPrefix(strings.ToLower(t.key), "aws:") {
			return nil, nil, invalidParam("tags", "'"+t.key+"'", "be a tag key of 1 to 128 characters")
		}
		if utf8.RuneCountInString(t.value) > 256 || strings.ContainsFunc(t.value, notInTag) {
			return nil, nil, invalidParam("tags", "'"+t.value+"'", "be a tag value of at most 256 characters")
		}
		fold := strings.ToLower(t.key)
		if _, twice := seen[fold]; twice {
			return nil, nil, refuse(http.StatusBadRequest, "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		for key := range inherited {
			if strings.EqualFold(key, t.key) {
				return nil, nil, refuse(http.StatusForbidden, "AccessDenied", "the tag %s is inherited from the calling session and can't be set again", t.key)
			}
		}
		seen[fold] = t
		tags = append(tags, t)
	}
	if len(tags) > 50 {
		return nil, nil, invalidParam("tags", "'…'", "have length less than or equal to 50")
	}
	transitive = maps.Clone(inherited)
	for _, m := range rq.members("TransitiveTagKeys") {
		t, ok := seen[strings.ToLower(m(""))]
		if !ok {
			return nil, nil, refuse(http.StatusBadRequest, "InvalidParameterValue", "One of the specified transitive tag keys can't be found in the requested tags.")
		}
		if transitive == nil {
			transitive = map[string]string{}
		}
		transitive[t.key] = t.value
	}
	return tags, transitive, nil
}

func notInTag(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r)
}

// assumeRole looks at the form of a request first, then at the token code,
// then at the policies and at the limits of the role last, so that who may not
// assume it learns nothing of it.
func (c *Cloud) assumeRole(rq *request) (*reply, error) {
	who := rq.key.who
	tags, transitive, err := rq.sessionTags()
	if err != nil {
		return nil, err
	}
	q, err := rq.roleRequest(tags)
	if err != nil {
		return nil, err
	}
	externalID, err := rq.optionalParam("ExternalId", 2, 1224, "_+=,.@:/-")
	if err != nil {
		return nil, err
	}
	identity, err := rq.optionalParam("SourceIdentity", 2, 64, nameChars)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(identity, "aws:") {
		return nil, invalidParam("SourceIdentity", "'"+identity+"'", "not begin with aws:")
	}
	mfa, err := c.checkMFA(rq)
	if err != nil {
		return nil, err
	}

	if identity == "" {
		identity = who.sourceIdentity
	}
	if who.sourceIdentity != "" && identity != who.sourceIdentity {
		return nil, notAuthorized(rq, "sts:SetSourceIdentity", q.arn, "")
	}
	if who.denies("sts:AssumeRole") {
		return nil, notAuthorized(rq, "sts:AssumeRole", q.arn, denied)
	}
	r := c.roles[q.arn]
	action := "sts:AssumeRole"
	if r != nil {
		action = r.trusts(claim{
			who:        who,
			externalID: externalID,
			mfa:        mfa || who.mfa,
			identity:   identity,
			tagged:     len(tags)+len(transitive) > 0,
		})
	}
	if action != "" {
		return nil, notAuthorized(rq, action, q.arn, "")
	}
	if who.role != nil && q.seconds > chainedMax {
		return nil, refuse(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	if q.seconds > r.MaxSession {
		return nil, refuse(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session := r.session(q.session)
	session.sourceIdentity, session.transitive = identity, transitive
	session.chained = rq.key.token != ""
	return queryReply(rq, stsNamespace, struct {
		AssumedRoleUser  assumedRoleUser
		Credentials      credentials
		PackedPolicySize *int   `xml:",omitempty"`
		SourceIdentity   string `xml:",omitempty"`
	}{
		assumedRoleUser{session.userID, session.arn},
		credentialsOf(c.issue(session, rq.now, q.seconds)),
		q.packedSize(),
		identity,
	}), nil
}

// session returns who a session of r speaks for. It does not pass on that an
// MFA device was shown.
func (r *role) session(name string) principal {
	return principal{account: r.Account, arn: r.sessionARN(name), userID: r.id + ":" + name, role: r}
}

// A claim is what a caller brings to a trust policy.
type claim struct {
	who        principal
	externalID string
	mfa        bool
	identity   string
	tagged     bool
}

// trusts returns the action that r's trust policy does not allow, or "" when
// it allows all that is claimed.
func (r *role) trusts(c claim) string {
	missing := "sts:AssumeRole"
	for _, t := range r.Trust {
		if !t.names(c.who) || t.ExternalID != "" && t.ExternalID != c.externalID || t.MFA && !c.mfa || t.SourceIdentity && c.identity == "" {
			continue
		}
		switch {
		case c.tagged && slices.Contains(t.Deny, "sts:TagSession"):
			missing = "sts:TagSession"
		case c.identity != "" && slices.Contains(t.Deny, "sts:SetSourceIdentity"):
			missing = "sts:SetSourceIdentity"
		default:
			return ""
		}
	}
	return missing
}

// names reports whether p is one of the principals of t.
func (t Trust) names(p principal) bool {
	for _, name := range t.Principals {
		switch name {
		case "*", p.arn, "arn:aws:iam::" + p.account + ":root":
			return true
		}
		if p.role != nil && name == p.role.ARN() {
			return true
		}
	}
	return false
}

func (c *Cloud) assumeRoleWithWebIdentity(rq *request) (*reply, error) {
	q, err := rq.roleRequest(nil)
	if err != nil {
		return nil, err
	}
	w, ok := c.identities[rq.params.Get("WebIdentityToken")]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	if !w.Expires.IsZero() && !rq.now.Before(w.Expires) {
		return nil, refuse(http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time")
	}
	r := c.roles[q.arn]
	if r == nil || !slices.ContainsFunc(r.Trust, func(t Trust) bool {
		return t.Provider != "" && t.Provider == w.Issuer && (t.Subject == "" || t.Subject == w.Subject)
	}) {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if q.seconds > r.MaxSession {
		return nil, refuse(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session := r.session(q.session)
	return queryReply(rq, stsNamespace, struct {
		SubjectFromWebIdentityToken string
		Audience                    string
		Provider                    string
		AssumedRoleUser             assumedRoleUser
		Credentials                 credentials
		PackedPolicySize            *int `xml:",omitempty"`
	}{
		w.Subject,
		w.Audience,
		"arn:aws:iam::" + r.Account + ":oidc-provider/" + strings.TrimPrefix(w.Issuer, "https://"),
		assumedRoleUser{session.userID, session.arn},
		credentialsOf(c.issue(session, rq.now, q.seconds)),
		q.packedSize(),
	}), nil
}
