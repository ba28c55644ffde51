package opemu

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An Item is one as op prints it, its members in op's order [R]. Op's
// "sections" and the like are missing where they are empty, and so is the
// value of an empty field.
type Item struct {
	ID                    string            `json:"id"`
	Title                 string            `json:"title"`
	Favorite              bool              `json:"favorite,omitempty"`
	Tags                  []string          `json:"tags,omitempty"`
	Version               int               `json:"version"`
	Vault                 VaultRef          `json:"vault"`
	Category              string            `json:"category"`
	LastEditedBy          string            `json:"last_edited_by,omitempty"`
	CreatedAt             string            `json:"created_at,omitempty"` // RFC 3339
	UpdatedAt             string            `json:"updated_at,omitempty"`
	AdditionalInformation string            `json:"additional_information,omitempty"`
	URLs                  []URL             `json:"urls,omitempty"`
	Sections              []Section         `json:"sections,omitempty"`
	Fields                []Field           `json:"fields,omitempty"`
	Files                 []json.RawMessage `json:"files,omitempty"`
}

// A VaultRef says which vault an item is in.
type VaultRef struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// A URL is an address of a website.
type URL struct {
	Label   string `json:"label,omitempty"`
	Primary bool   `json:"primary,omitempty"`
	Href    string `json:"href"`
}

// A Section is a group of fields. That of fields added in the app has the ID
// "add more" and no label.
type Section struct {
	ID    string `json:"id"`
	Label string `json:"label,omitempty"`
}

// A Field is a line of an item. The value of an OTP field is its seed.
type Field struct {
	ID              string          `json:"id"`
	Section         *Section        `json:"section,omitempty"`
	Type            string          `json:"type"`
	Purpose         string          `json:"purpose,omitempty"`
	Label           string          `json:"label,omitempty"`
	Value           string          `json:"value,omitempty"`
	TOTP            string          `json:"totp,omitempty"` // computed
	Entropy         json.RawMessage `json:"entropy,omitempty"`
	Reference       string          `json:"reference,omitempty"` // computed
	PasswordDetails json.RawMessage `json:"password_details,omitempty"`
}

// A Stored item is an Item as 1Password keeps it, without what is computed,
// and with what op does not print.
type Stored struct {
	Item
	Passkey          bool `json:"passkey,omitempty"`
	PasskeyDestroyed bool `json:"passkey_destroyed,omitempty"` // by an edit
	Archived         bool `json:"archived,omitempty"`
	Deleted          bool `json:"deleted,omitempty"` // only its ID is known
}

// An AccessKey is what an item for AWS holds.
type AccessKey struct {
	Title        string // "": "AWS Access Key"
	ID, Secret   string
	MFASerial    string // "": no field for it
	Seed         string // of the MFA device, base32 or an otpauth URI; "": no OTP field
	SessionCache bool   // has an empty field session_cache
}

// Item returns an item that holds the access key as a person fills it in: an
// API Credential with fields of their own, in the section of the app's making
// that has no label [R].
func (k AccessKey) Item() Item {
	more := &Section{ID: "add more"}
	it := Item{Title: k.Title, Category: "API_CREDENTIAL", Sections: []Section{*more}, Fields: templateOf("API_CREDENTIAL")}
	if it.Title == "" {
		it.Title = "AWS Access Key"
	}
	add := func(kind, label, value string) {
		it.Fields = append(it.Fields, Field{ID: newFieldID(kind), Section: more, Type: kind, Label: label, Value: value})
	}
	add("STRING", "Access Key ID", k.ID)
	add("CONCEALED", "Secret Access Key", k.Secret)
	if k.MFASerial != "" {
		add("STRING", "mfa serial", k.MFASerial)
	}
	if k.Seed != "" {
		add("OTP", "one-time password", k.Seed)
	}
	if k.SessionCache {
		add("CONCEALED", "session_cache", "")
	}
	return it
}

// newFieldID returns an ID for a new field: OTP fields have a prefix [R].
func newFieldID(kind string) string {
	if kind == "OTP" {
		return "TOTP_" + newID()
	}
	return newID()
}

// templateOf returns the built-in fields of a category [R]. Those of
// categories that have no keys in them are not all emulated.
func templateOf(category string) []Field {
	notes := Field{ID: "notesPlain", Type: "STRING", Purpose: "NOTES", Label: "notesPlain"}
	switch category {
	case "API_CREDENTIAL":
		return []Field{
			notes,
			{ID: "username", Type: "STRING", Label: "username"},
			{ID: "credential", Type: "CONCEALED", Label: "credential"},
			{ID: "type", Type: "MENU", Label: "type"},
			{ID: "filename", Type: "STRING", Label: "filename"},
			{ID: "validFrom", Type: "DATE", Label: "valid from"},
			{ID: "expires", Type: "DATE", Label: "expires"},
			{ID: "hostname", Type: "STRING", Label: "hostname"},
		}
	case "LOGIN":
		return []Field{
			{ID: "username", Type: "STRING", Purpose: "USERNAME", Label: "username"},
			{ID: "password", Type: "CONCEALED", Purpose: "PASSWORD", Label: "password"},
			notes,
		}
	case "PASSWORD":
		return []Field{{ID: "password", Type: "CONCEALED", Purpose: "PASSWORD", Label: "password"}, notes}
	}
	return []Field{notes}
}

// isBuiltIn reports whether a field belongs to the category of its item. Such
// fields can be emptied but not removed.
func isBuiltIn(category, id string) bool {
	return slices.ContainsFunc(templateOf(category), func(f Field) bool { return f.ID == id })
}

// categoryOf finds the category that a person means by "API Credential",
// "api_credential" or "apicredential"; "" when there is none.
func categoryOf(text string) string {
	plain := func(s string) string {
		return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToUpper(s))
	}
	for _, category := range []string{
		"API_CREDENTIAL", "BANK_ACCOUNT", "CREDIT_CARD", "CRYPTO_WALLET", "DATABASE", "DOCUMENT", "DRIVER_LICENSE",
		"EMAIL_ACCOUNT", "IDENTITY", "LOGIN", "MEDICAL_RECORD", "MEMBERSHIP", "OUTDOOR_LICENSE", "PASSPORT", "PASSWORD",
		"REWARD_PROGRAM", "SECURE_NOTE", "SERVER", "SOCIAL_SECURITY_NUMBER", "SOFTWARE_LICENSE", "SSH_KEY", "WIRELESS_ROUTER",
	} {
		if plain(category) == plain(text) {
			return category
		}
	}
	return ""
}

// knownType reports whether op knows a type of field [S].
func knownType(kind string) bool {
	switch kind {
	case "STRING", "CONCEALED", "OTP", "URL", "EMAIL", "DATE", "MONTH_YEAR", "PHONE", "MENU", "ADDRESS",
		"REFERENCE", "FILE", "SSHKEY", "GENDER", "UNKNOWN":
		return true
	}
	return strings.HasPrefix(kind, "CREDIT_CARD_")
}

// clone returns an item that shares no fields with it.
func (it Item) clone() Item {
	it.Fields = slices.Clone(it.Fields)
	it.Sections = slices.Clone(it.Sections)
	it.Tags = slices.Clone(it.Tags)
	it.URLs = slices.Clone(it.URLs)
	return it
}

// view returns an item as op prints it: with the codes of a moment and with
// references.
func (s *State) view(stored Stored) Item {
	it := stored.clone()
	if v := s.vault(it.Vault.ID); v != nil {
		it.Vault.Name = v.Name
	}
	if i := slices.IndexFunc(it.Fields, func(f Field) bool { return f.ID == "type" || f.ID == "username" && it.Category == "LOGIN" }); i >= 0 {
		it.AdditionalInformation = it.Fields[i].Value
	}
	for i := range it.Fields {
		f := &it.Fields[i]
		f.Reference = it.reference(*f)
		if f.Type == "OTP" && f.Value != "" {
			// A seed that is none shows no code [I].
			f.TOTP, _ = totp(f.Value, s.now().Add(time.Duration(s.ClockSkew)))
		}
	}
	return it
}

// reference returns the secret reference of a field [R].
func (it Item) reference(f Field) string {
	parts := []string{it.Vault.Name, it.Title}
	if f.Section != nil {
		parts = append(parts, orElse(f.Section.Label, f.Section.ID))
	}
	return "op://" + strings.Join(append(parts, orElse(f.Label, f.ID)), "/")
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// A query is how a call names an item.
type query struct {
	item  string // ID, title or link
	vault string // ID or name, "" for any
}

// queryOf reads what a call says. A link names item and vault.
func queryOf(item, vault string) query {
	u, err := url.Parse(item)
	if err == nil && u.Scheme == "https" && u.Path == "/open/i" {
		q := u.Query()
		return query{q.Get("i"), orElse(vault, q.Get("v"))}
	}
	return query{item, vault}
}

// byIDs reports whether 1Password need not be asked what the names mean.
func (q query) byIDs() bool { return isID(q.item) && isID(q.vault) }

// findVault returns the vault of a name or ID among those the call may see.
// Names are compared without case [I].
func (c *call) findVault(s *State, name string) (*Vault, error) {
	for _, v := range c.vaults(s) {
		if v.ID == name || strings.EqualFold(v.Name, name) {
			return s.vault(v.ID), nil
		}
	}
	return nil, fail("%q isn't a vault in this account. Specify the vault with its ID or name.", name) // [R]
}

// findItem returns the item that a query names, among those that the call may
// see. The error is one of op's: no such item or vault, or several.
func (c *call) findItem(s *State, items []Stored, q query) (Stored, error) {
	vaults := c.vaults(s)
	if q.vault != "" {
		v, err := c.findVault(s, q.vault)
		if err != nil {
			return Stored{}, err
		}
		vaults = []Vault{*v}
	}
	archive := c.args.isSet("include-archive") || c.getenv("OP_INCLUDE_ARCHIVE") == "true"
	var found []Stored
	for _, it := range items {
		if !slices.ContainsFunc(vaults, func(v Vault) bool { return v.ID == it.Vault.ID }) {
			continue
		}
		gone := it.Deleted || it.Archived && !archive
		if it.ID == q.item {
			if gone {
				return Stored{}, fail("could not find item %s in vault %s, because it has been deleted or archived.", it.ID, it.Vault.ID) // [F]
			}
			return it, nil
		}
		same := it.Title == q.item || !s.ExactTitles && strings.EqualFold(it.Title, q.item) // without case [I]
		if same && !gone {
			found = append(found, it)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		// The text ends in a blank before the list [R].
		text := "More than one item matches \"" + q.item + "\". Try again and specify the item by its ID: "
		for _, it := range found {
			text += "\n\t* for the item \"" + it.Title + "\" in vault " + s.vault(it.Vault.ID).Name + ": " + it.ID
		}
		return Stored{}, fail("%s", text)
	case q.vault != "":
		return Stored{}, fail("%q isn't an item in the %q vault. Specify the item with its UUID, name, or domain.", q.item, q.vault) // [R]
	}
	return Stored{}, fail("%q isn't an item. Specify the item with its UUID, name, or domain.", q.item) // [R]
}
