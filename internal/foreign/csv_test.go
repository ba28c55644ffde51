package foreign

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"kura/internal/cred"
)

func TestFromText(t *testing.T) {
	bob := cred.Credentials{AccessKeyID: "AKIAI44QH8DHBEXAMPLE", SecretAccessKey: cred.NewSecret("je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY")}
	for name, tt := range map[string]struct {
		text string
		want []Item
	}{
		"accessKeys.csv": {"\ufeffAccess key ID,Secret access key\r\n" + keyID + "," + secret + "\r\n",
			[]Item{{Key: key, Note: "f:2"}}},
		"without the last line break": {"Access key ID,Secret access key\n" + keyID + "," + secret,
			[]Item{{Key: key, Note: "f:2"}}},
		"quoted": {"\ufeff\"User Name\",\"Access Key Id\",\"Secret Access Key\"\n\"alice\",\"" + keyID + "\",\"" + secret + "\"\n",
			[]Item{{Name: "alice", Key: key, Note: "f:2"}}},
		"several users": {"User name,Password,Access key ID,Secret access key,Console login link\n" +
			"alice,\"a,\"\"b\"," + keyID + "," + secret + ",https://example.signin.aws.amazon.com/console\n" +
			"console-only,p\"w,,,https://example.signin.aws.amazon.com/console\n\n" +
			"bob,," + bob.AccessKeyID + ",je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY,\n",
			[]Item{{Name: "alice", Key: key, Note: "f:2"}, {Name: "bob", Key: bob, Note: "f:5"}}},
		"with spaces": {" Access key ID, Secret access key, Region Name\n " + keyID + ", \"" + secret + "\", us-east-1\n",
			[]Item{{Key: key, Note: "f:2"}}},
		"rootkey.csv": {"AWSAccessKeyId=" + keyID + "\r\nAWSSecretKey=" + secret + "\r\n", []Item{{Key: key, Note: "f"}}},
		"two lines":   {"\n" + keyID + "\r\n" + secret + "\n", []Item{{Key: key, Note: "f"}}},
	} {
		got, err := FromText("f", strings.NewReader(tt.text))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: FromText = %v, %v, want %v", name, got, err, tt.want)
		}
	}
}

func TestFromTextFaulty(t *testing.T) {
	const header = "User name,Access key ID,Secret access key\n"
	for name, tt := range map[string]struct{ text, want string }{
		"empty":              {"", "f: want an access key ID and a secret"},
		"one line":           {"hunter2\n", "f: want an access key ID and a secret"},
		"three lines":        {"hunter2\nhunter2\nhunter2\n", "f: want an access key ID and a secret"},
		"half of a root key": {"AWSAccessKeyId=hunter2\nhunter2\n", "f: want an access key ID and a secret"},
		"an empty root key":  {"AWSAccessKeyId=\nAWSSecretKey=hunter2\n", "f: want an access key ID and a secret"},
		"other columns":      {"a,b\nhunter2,hunter2\n", `f: the first line has no columns "Access key ID"`},
		"one column":         {"User name,Access key ID\na,hunter2\n", `f: the first line has no columns "Access key ID"`},
		"only the header":    {header, "f: there is no access key below the first line"},
		"no user has a key":  {header + "a,,\n", "f: there is no access key below the first line"},
		"too long":           {header + strings.Repeat("a,hunter2,hunter2\n", 1<<17), "f is longer than 1 MiB"},
	} {
		got, err := FromText("f", strings.NewReader(tt.text))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: FromText = %v, %v, want an error that begins with %q", name, got, err, tt.want)
		}
	}
	got, err := FromText("f", strings.NewReader(header+"a,hunter2,\nb,,hunter2\nc\nd,hunter2\ne,hunter2,\"hunter2\nx\"\nf,"+keyID+","+secret+"\n"))
	if err != nil || len(got) != 5 || got[4].Key != key {
		t.Fatalf("FromText = %v, %v, want 5 items of which the last is good", got, err)
	}
	for i, want := range []string{
		"f:2: there is no secret access key", "f:3: there is no access key ID",
		"f:5: there is no secret access key", "f:6: what stands there is no access key",
	} {
		if got[i].Err == nil || got[i].Err.Error() != want {
			t.Errorf("item %d: %v, want %q", i, got[i].Err, want)
		}
	}
	cause := errors.New("a disk error")
	if _, err := FromText("f", iotest.ErrReader(cause)); !errors.Is(err, cause) {
		t.Errorf("FromText of what can't be read: %v, want %v", err, cause)
	}
}

// What is read as a key stands in the text, and what can't be read is not
// quoted.
func FuzzFromText(f *testing.F) {
	f.Add("Access key ID,Secret access key\n", keyID+","+secret)
	f.Add("\ufeff\"User Name\",\"Access key ID\",\"Secret access key\"\n\"a\"\"b\",\"", "\",\"x\"\n")
	f.Add("AWSAccessKeyId=", "\nAWSSecretKey=x")
	f.Add("a\n", "")
	f.Fuzz(func(t *testing.T, before, after string) {
		const marker = "hunter2hunter2"
		text := before + marker + after
		items, err := FromText("f", strings.NewReader(text))
		if err != nil {
			if strings.Contains(err.Error(), marker) {
				t.Errorf("FromText(%q): %v", text, err)
			}
			return
		}
		if len(items) == 0 {
			t.Errorf("FromText(%q) is neither a key nor an error", text)
		}
		for _, item := range items {
			if item.Err != nil {
				if strings.Contains(item.Err.Error(), marker) {
					t.Errorf("FromText(%q): %v", text, item.Err)
				}
				continue
			}
			secret := item.Key.SecretAccessKey.Reveal()
			if item.Key.AccessKeyID == "" || secret == "" ||
				!strings.Contains(text, item.Key.AccessKeyID) || !strings.Contains(text, secret) {
				t.Errorf("FromText(%q) = %v, which does not stand there", text, item)
			}
		}
	})
}
