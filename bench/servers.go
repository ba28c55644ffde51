//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kura/internal/cred"
	"kura/internal/serve"
)

// The servers that are measured, each after its yardstick: a bare handler with
// a body that is ready, which gets the same requests.
var servers = []string{"bare, container's requests", "container", "bare, imds's requests", "imds"}

const (
	token     = "k9JvQXwYzPq7LrTn2BsDf4GhVm6CxWe8AaZtUyRo"
	tokenPath = "/latest/api/token"
	rolePath  = "/latest/meta-data/iam/security-credentials/local-credentials"
	rounds    = 40   // in which the requests are made, one server after the other
	idleConns = 1000 // connections that ask nothing
	idleFor   = 2 * time.Second
	maxRSS    = 16 // MiB
)

// serveUntilEOF is what a server's process does: it says where it serves, and
// ends with its standard input.
func serveUntilEOF(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	credentials := cred.Credentials{
		AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: cred.NewSecret(strings.Repeat("x", 40)),
		SessionToken: cred.NewSecret(strings.Repeat("x", 900)), Expires: time.Now().Add(time.Hour), AccountID: "123456789012",
	}
	source := func(context.Context) (cred.Credentials, error) { return credentials, nil }
	hosts := []string{l.Addr().String()}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	switch name {
	case "container":
		return serve.Serve(ctx, l, &serve.Container{Token: cred.NewSecret(token), Hosts: hosts, Source: source}, serve.Options{})
	case "imds":
		return serve.Serve(ctx, l, &serve.IMDS{Hosts: hosts, Source: source}, serve.Options{HopLimit: 1})
	}
	body := bytes.Repeat([]byte("x"), 1100)
	length := strconv.Itoa(len(body))
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", length)
		w.Write(body)
	}))
	<-ctx.Done()
	return nil
}

// A server is one in a process of its own.
type server struct {
	name, addr string
	request    []byte // and the size of the response to it
	response   int
	process    *exec.Cmd
	stdin      io.Closer
	cells      map[int]*cell // by the number of connections
	rss        []float64     // MiB: idle, after the requests, with idle connections
	idleCPU    time.Duration // in a second of idle connections
}

// A cell is what the requests over a number of connections took, round by
// round. The median of the rounds is what counts: in some of them the machine
// has something else to do.
type cell struct {
	perSecond, p50, p99 []float64 // the latter in µs
	cpu                 time.Duration
	requests            int
}

func startServer(ctx context.Context, name string) (*server, error) {
	s := &server{name: name, cells: map[int]*cell{}}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.process = exec.CommandContext(ctx, self, "-serve", name)
	s.process.Stderr = os.Stderr
	if s.stdin, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return s, fmt.Errorf("%s says nothing: %w", name, err)
	}
	s.addr = strings.TrimSpace(line)
	header := "Authorization: " + token + "\r\n"
	path := "/"
	if strings.Contains(name, "imds") {
		session := strings.Repeat("x", 54)
		if name == "imds" {
			if session, err = s.session(ctx); err != nil {
				return s, err
			}
		}
		path, header = rolePath, "X-Aws-Ec2-Metadata-Token: "+session+"\r\n"
	}
	s.request = []byte("GET " + path + " HTTP/1.1\r\nHost: " + s.addr + "\r\nUser-Agent: bench\r\nAccept: application/json\r\n" + header + "\r\n")
	return s, s.measureResponse()
}

func (s *server) end() {
	s.stdin.Close()
	s.process.Wait()
}

// session gets a session token of an IMDS.
func (s *server) session(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.addr+tokenPath, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// measureResponse finds out how many bytes answer the request. It is always as
// many.
func (s *server) measureResponse() error {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(s.request); err != nil {
		return err
	}
	var all bytes.Buffer
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &all)), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", s.name, resp.Status)
	}
	s.response = all.Len()
	return nil
}

// load makes n requests over a number of connections, each its share.
func (s *server) load(n, conns int) error {
	if s.cells[conns] == nil {
		s.cells[conns] = new(cell)
	}
	c, cpu, began := s.cells[conns], s.cpu(), time.Now()
	var wg sync.WaitGroup
	took, errs := make([][]time.Duration, conns), make([]error, conns)
	for i := range conns {
		wg.Go(func() { took[i], errs[i] = s.ask(n / conns) })
	}
	wg.Wait()
	elapsed := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	c.perSecond = append(c.perSecond, float64(len(all))/elapsed.Seconds())
	c.p50 = append(c.p50, all[len(all)/2].Seconds()*1e6)
	c.p99 = append(c.p99, all[len(all)*99/100].Seconds()*1e6)
	c.cpu += s.cpu() - cpu
	c.requests += len(all)
	return nil
}

// ask makes n requests on one connection.
func (s *server) ask(n int) ([]time.Duration, error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	took, response := make([]time.Duration, n), make([]byte, s.response)
	for i := range n {
		began := time.Now()
		if _, err := c.Write(s.request); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, response); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
		if !bytes.HasPrefix(response, []byte("HTTP/1.1 200 OK\r\n")) {
			return nil, fmt.Errorf("the answer is %.40q", response)
		}
	}
	return took, nil
}

// idle holds connections on which nothing is asked.
func (s *server) idle(ctx context.Context) error {
	for range idleConns {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return err
		}
		defer c.Close()
	}
	if _, err := s.ask(1); err != nil { // until all are accepted
		return err
	}
	cpu, began := s.cpu(), time.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(idleFor):
	}
	s.idleCPU = time.Duration(float64(s.cpu()-cpu) / time.Since(began).Seconds())
	s.weigh()
	return nil
}

// weigh notes the resident memory of the process.
func (s *server) weigh() {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64 // 0 where the system does not say
	fmt.Sscanf(rest, "%f kB", &kib)
	s.rss = append(s.rss, kib/1024)
}

// cpu returns the processor time that the process has used, in steps of a
// hundredth of a second.
func (s *server) cpu() time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// printServers prints what the servers cost beside a bare handler, and reports
// whether a budget is exceeded.
func printServers(ctx context.Context, requests int) (over bool, err error) {
	var all []*server
	for _, name := range servers {
		s, err := startServer(ctx, name)
		if s != nil {
			defer s.end()
		}
		if err != nil {
			return false, err
		}
		s.weigh()
		all = append(all, s)
	}
	requests = max(requests, 100*rounds)
	counts := []int{1, 16}
	for round := range rounds + 1 {
		for _, conns := range counts {
			for i := range all {
				s := all[(i+round)%len(all)] // none is always the first
				if ctx.Err() != nil {
					return false, context.Cause(ctx)
				}
				if err := s.load(requests/rounds, conns); err != nil {
					return false, err
				}
				if round == 0 { // it warms up
					s.cells[conns] = nil
				}
			}
		}
	}
	for _, s := range all {
		s.weigh()
		if err := s.idle(ctx); err != nil {
			return false, err
		}
	}

	fmt.Printf("%s/%s, %d CPUs, %s, %d requests for each line, in %d rounds by turns; medians of the rounds; client and server share the machine\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), requests, rounds)
	fmt.Println("| server | connections | requests/s | p50 µs | p99 µs | p99 to bare | CPU µs/request | |\n|---|---|---|---|---|---|---|---|")
	verdict := func(good bool) string {
		if good {
			return "ok"
		}
		over = true
		return "OVER"
	}
	for _, conns := range counts {
		for i, s := range all {
			c, bare := s.cells[conns], all[i/2*2].cells[conns]
			ratios := slices.Clone(c.p99)
			for round := range ratios {
				ratios[round] /= bare.p99[round]
			}
			ratio := median(ratios)
			fmt.Printf("| %s | %d | %.0f | %.1f | %.1f | %.2f | %.1f | %s |\n", s.name, conns, median(c.perSecond),
				median(c.p50), median(c.p99), ratio, c.cpu.Seconds()*1e6/float64(c.requests), verdict(ratio <= 1.2))
		}
	}
	fmt.Printf("\n| server | RSS idle, MiB | after %d requests | with %d idle connections | CPU ms/s then | |\n|---|---|---|---|---|---|\n", 2*requests, idleConns)
	for _, s := range all {
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %.0f | %s |\n", s.name, s.rss[0], s.rss[1], s.rss[2], s.idleCPU.Seconds()*1000,
			verdict(strings.HasPrefix(s.name, "bare") || slices.Max(s.rss) <= maxRSS))
	}
	return over, nil
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
