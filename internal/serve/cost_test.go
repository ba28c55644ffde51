package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A sink takes a response and keeps nothing of it.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// An answer costs no memory: it is there already.
func TestAnswersAllocateNothing(t *testing.T) {
	imds := newIMDS()
	session := sessionToken(t, imds, "600")
	for _, c := range []struct {
		name string
		h    http.Handler
		q    request
	}{
		{"container", newContainer(), request{"GET", "/", []string{"Authorization", token}, ""}},
		{"metadata", imds, request{"GET", credentialsPath, []string{tokenHeader, session}, ""}},
		{"metadata, list", imds, request{"GET", "/latest/meta-data/iam/security-credentials/", []string{tokenHeader, session}, ""}},
	} {
		r := httptest.NewRequest(c.q.method, c.q.target, nil)
		r.Host = host
		r.Header.Set(c.q.header[0], c.q.header[1])
		w := &sink{http.Header{}}
		if n := testing.AllocsPerRun(100, func() { c.h.ServeHTTP(w, r) }); n > 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
