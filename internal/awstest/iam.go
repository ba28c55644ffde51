package awstest

import (
	"cmp"
	"net/http"
	"slices"
)

const (
	iamVersion   = "2010-05-08"
	iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"
)

// iamService is https://docs.aws.amazon.com/IAM/latest/APIReference/, as far
// as users manage their own access keys.
func iamService() service {
	return service{"iam", queryOp, (*Cloud).iam, queryFail(iamNamespace)}
}

func (c *Cloud) iam(rq *request) (*reply, error) {
	if err := checkQuery(rq, iamVersion); err != nil {
		return nil, err
	}
	if rq.key == nil {
		return nil, refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	if rq.key.who.federated {
		return nil, notAuthorized(rq, "iam:"+rq.op, "*", "")
	}
	// GetSessionToken's sessions can't call IAM "unless MFA authentication
	// information is included in the request".
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
	if who := rq.key.who; rq.key.token != "" && who.user != nil && !who.mfa {
		return nil, authErrorsOf("iam").unknownKey
	}
	switch rq.op {
	case "GetUser":
		return c.getUser(rq)
	case "CreateAccessKey":
		return c.createAccessKey(rq)
	case "ListAccessKeys":
		return c.listAccessKeys(rq)
	case "UpdateAccessKey":
		return c.updateAccessKey(rq)
	case "DeleteAccessKey":
		return c.deleteAccessKey(rq)
	case "GetAccessKeyLastUsed":
		return c.getAccessKeyLastUsed(rq)
	case "ListMFADevices":
		return c.listMFADevices(rq)
	}
	return nil, invalidAction(rq)
}

// subject returns the user that a request is about: by default the caller.
func (c *Cloud) subject(rq *request) (*user, error) {
	who := rq.key.who
	name, err := rq.optionalParam("UserName", 1, 128, nameChars)
	if err != nil {
		return nil, err
	}
	if name == "" && who.user == nil {
		return nil, refuse(http.StatusBadRequest, "ValidationError", "Must specify userName when calling with non-User credentials")
	}
	if name == "" {
		name = who.user.Name
	}
	u := c.userNamed(who.account, name)
	arn := User{Account: who.account, Name: name}.ARN()
	if u != nil {
		arn = u.ARN()
	}
	if err := c.mayManage(rq, arn); err != nil {
		return nil, err
	}
	if u == nil {
		return nil, refuse(http.StatusNotFound, "NoSuchEntity", "The user with name %s cannot be found.", name)
	}
	return u, nil
}

// mayManage checks that the caller may do rq.op with the user of that ARN.
func (c *Cloud) mayManage(rq *request, arn string) error {
	who := rq.key.who
	action := "iam:" + rq.op
	if slices.Contains(c.denied[who.account], action) {
		return notAuthorized(rq, action, arn, deniedByOrganization)
	}
	if who.denies(action) {
		return notAuthorized(rq, action, arn, denied)
	}
	if who.role != nil && !who.role.IAM || who.user != nil && who.user.ARN() != arn {
		return notAuthorized(rq, action, arn, notAllowed)
	}
	return nil
}

// keyOf returns the access key of u that a request names.
func (c *Cloud) keyOf(rq *request, u *user) (*key, error) {
	id, err := rq.textParam("AccessKeyId", 16, 128, "_")
	if err != nil {
		return nil, err
	}
	k := c.keys[id]
	if k == nil || k.deleted || k.token != "" || k.who.user != u {
		return nil, refuse(http.StatusNotFound, "NoSuchEntity", "The Access Key with id %s cannot be found.", id)
	}
	return k, nil
}

// keysOf returns the access keys of u that there are, the oldest first.
func (c *Cloud) keysOf(u *user) []*key {
	return c.keysWhere(u, func(k *key) bool { return !k.deleted })
}

func (c *Cloud) keysWhere(u *user, is func(*key) bool) []*key {
	var keys []*key
	for _, k := range c.keys {
		if k.token == "" && k.who.user == u && is(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *key) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
	return keys
}

func status(inactive bool) string {
	if inactive {
		return "Inactive"
	}
	return "Active"
}

func (c *Cloud) getUser(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	type entry struct{ Path, UserName, UserId, Arn, CreateDate string }
	return queryReply(rq, iamNamespace, struct{ User entry }{
		entry{cmp.Or(u.Path, "/"), u.Name, u.id, u.ARN(), xmlTime(u.created)},
	}), nil
}

func (c *Cloud) createAccessKey(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	if len(c.keysOf(u)) >= 2 {
		return nil, refuse(http.StatusConflict, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	}
	k := c.addKey(u, AccessKey{ID: newID("AKIA"), Secret: randomBase64(30)})
	k.usable, k.listed = rq.now.Add(c.keyDelay), rq.now.Add(c.spread)
	type entry struct{ UserName, AccessKeyId, Status, SecretAccessKey, CreateDate string }
	return queryReply(rq, iamNamespace, struct{ AccessKey entry }{
		entry{u.Name, k.id, status(k.inactive), k.secret, xmlTime(k.created)},
	}), nil
}

func (c *Cloud) listAccessKeys(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	type entry struct{ UserName, AccessKeyId, Status, CreateDate string }
	var entries []entry
	for _, k := range c.keysWhere(u, func(k *key) bool { return !k.deleted || !c.isSpread(k.changed, rq.now) }) {
		if rq.now.Before(k.listed) {
			continue
		}
		entries = append(entries, entry{u.Name, k.id, status(k.inactive && c.isSpread(k.changed, rq.now)), xmlTime(k.created)})
	}
	return queryReply(rq, iamNamespace, struct {
		UserName          string
		AccessKeyMetadata []entry `xml:"AccessKeyMetadata>member"`
		IsTruncated       bool
	}{u.Name, entries, false}), nil
}

func (c *Cloud) updateAccessKey(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	want := rq.params.Get("Status")
	if want != "Active" && want != "Inactive" {
		return nil, invalidParam("Status", "'"+want+"'", "satisfy enum value set: [Active, Inactive]")
	}
	k, err := c.keyOf(rq, u)
	if err != nil {
		return nil, err
	}
	k.inactive, k.changed = want == "Inactive", rq.now
	return queryReply(rq, iamNamespace, nil), nil
}

func (c *Cloud) deleteAccessKey(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	k, err := c.keyOf(rq, u)
	if err != nil {
		return nil, err
	}
	k.deleted, k.changed = true, rq.now
	return queryReply(rq, iamNamespace, nil), nil
}

func (c *Cloud) getAccessKeyLastUsed(rq *request) (*reply, error) {
	id, err := rq.textParam("AccessKeyId", 16, 128, "_")
	if err != nil {
		return nil, err
	}
	k := c.keys[id]
	if k == nil || k.deleted || k.token != "" || k.who.account != rq.key.who.account {
		return nil, refuse(http.StatusNotFound, "NoSuchEntity", "The Access Key with id %s cannot be found.", id)
	}
	if err := c.mayManage(rq, k.who.arn); err != nil {
		return nil, err
	}
	type lastUsed struct {
		LastUsedDate string `xml:",omitempty"`
		ServiceName  string
		Region       string
	}
	last := lastUsed{"", "N/A", "N/A"}
	if !k.used.IsZero() {
		last = lastUsed{xmlTime(k.used), k.usedFor, k.usedIn}
	}
	return queryReply(rq, iamNamespace, struct {
		UserName          string
		AccessKeyLastUsed lastUsed
	}{k.who.user.Name, last}), nil
}

func (c *Cloud) listMFADevices(rq *request) (*reply, error) {
	u, err := c.subject(rq)
	if err != nil {
		return nil, err
	}
	type entry struct{ UserName, SerialNumber, EnableDate string }
	var entries []entry
	for _, d := range c.devices {
		if d.owner == u {
			entries = append(entries, entry{u.Name, d.serial, xmlTime(d.enabled)})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.SerialNumber, b.SerialNumber) })
	return queryReply(rq, iamNamespace, struct {
		MFADevices  []entry `xml:"MFADevices>member"`
		IsTruncated bool
	}{entries, false}), nil
}
