package serve

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"testing"
)

// vectors reads a file of AWS's test vectors.
func vectors(t *testing.T, name string, to any) {
	t.Helper()
	const dir = "../shared/vectors"
	data, err := os.ReadFile("../../" + dir + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(dir + " is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}

// endpoints are the URLs that SDKs make of their settings.
func endpoints(t *testing.T, name string) (urls []*url.URL) {
	t.Helper()
	var file struct {
		Tests []struct {
			Docs   string
			Result struct{ Ok string }
		}
	}
	vectors(t, name, &file)
	for _, c := range file.Tests {
		if c.Result.Ok == "" {
			continue
		}
		u, err := url.Parse(c.Result.Ok)
		if err != nil {
			t.Fatalf("%s: %v", c.Docs, err)
		}
		urls = append(urls, u)
	}
	if len(urls) == 0 {
		t.Fatalf("%s has no URLs", name)
	}
	return urls
}

// Every URL that an SDK may make of its settings is served, to the host in it.
func TestContainerEndpoints(t *testing.T) {
	for _, u := range endpoints(t, "ecs-tests.json") {
		h := newContainer()
		h.Hosts = []string{u.Host}
		resp := request{"GET", u.RequestURI(), []string{"Host", u.Host, "Authorization", token}, ""}.to(h)
		if body := readAll(t, resp.Body); resp.StatusCode != 200 || !strings.Contains(body, "ASIAbase") {
			t.Errorf("%s: %d %s", u, resp.StatusCode, body)
		}
	}
}

func TestIMDSEndpoints(t *testing.T) {
	for _, u := range endpoints(t, "imds-endpoint-tests.json") {
		h := newIMDS()
		h.Hosts = []string{u.Host}
		if resp := (request{"PUT", u.RequestURI(), []string{"Host", u.Host, ttlHeader, "21600"}, ""}).to(h); resp.StatusCode != 200 {
			t.Errorf("%s: %d", u, resp.StatusCode)
		}
	}
}

// An exchange is a request and its response as AWS has recorded them.
type exchange struct {
	method, uri string
	header      map[string][]string
	status      int
	kind, body  string
}

func recorded(t *testing.T, name string) (all []exchange) {
	t.Helper()
	var file struct {
		Events []struct {
			Action struct {
				Request *struct {
					Request struct {
						Method, URI string
						Headers     map[string][]string
					}
				}
				Response *struct {
					Response struct {
						Ok struct {
							Status  int
							Headers map[string][]string
						}
					}
				}
				Data *struct{ Data struct{ Utf8 string } }
			}
		}
	}
	vectors(t, path.Join("default-credential-provider-chain", name, "http-traffic.json"), &file)
	for _, e := range file.Events {
		last := len(all) - 1
		switch a := e.Action; {
		case a.Request != nil:
			q := a.Request.Request
			all = append(all, exchange{method: q.Method, uri: q.URI, header: q.Headers})
		case a.Response != nil:
			all[last].status = a.Response.Response.Ok.Status
			all[last].kind = a.Response.Response.Ok.Headers["content-type"][0]
		case a.Data != nil:
			all[last].body += a.Data.Data.Utf8
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no requests", name)
	}
	return all
}

// The requests of an SDK that AWS has recorded get answers of the same form as
// they got then.
func TestRecordedTraffic(t *testing.T) {
	container := newContainer()
	container.Hosts = []string{"169.254.170.2", "169.254.170.23"}
	imds := newIMDS()
	imds.Hosts, imds.Role = []string{"169.254.169.254"}, "imds-assume-role-test"
	for name, h := range map[string]http.Handler{
		"ecs_credentials": container, "eks_pod_identity_credentials": container, "imds_default_chain_success": imds,
	} {
		session := ""
		for _, e := range recorded(t, name) {
			u, err := url.Parse(e.uri)
			if err != nil {
				t.Fatal(err)
			}
			q := request{e.method, u.RequestURI(), []string{"Host", u.Host, "Authorization", token}, ""}
			for name, values := range e.header {
				if name == strings.ToLower(tokenHeader) {
					values = []string{session}
				}
				q.header = append(q.header, name, values[0])
			}
			resp := q.to(h)
			body := readAll(t, resp.Body)
			if resp.StatusCode != e.status || resp.Header.Get("Content-Type") != e.kind {
				t.Errorf("%s: %s: %d %s, want %d %s", name, e.uri, resp.StatusCode, resp.Header.Get("Content-Type"), e.status, e.kind)
			}
			var want, got map[string]string
			switch {
			case e.method == http.MethodPut:
				session = body
			case json.Unmarshal([]byte(e.body), &want) != nil: // a list
				if body != e.body {
					t.Errorf("%s: %s: %q, want %q", name, e.uri, body, e.body)
				}
			default:
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Errorf("%s: %s: %v in %s", name, e.uri, err, body)
				}
				for key, value := range want {
					// RoleArn is known only where a role was asked for.
					if ours := got[key]; key != "RoleArn" && (ours == "" || len(key) == len("Code") && ours != value) {
						t.Errorf("%s: %s: %s is %q, and was %q", name, e.uri, key, ours, value)
					}
				}
			}
		}
	}
}
