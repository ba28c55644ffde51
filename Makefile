# What there is to do with this tree. Go and make are all it needs; the rest is
# left out, aloud, where it is missing.

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs a C compiler; Go says whether it has found one.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

.PHONY: help demo pictures test conformance lint bench docs build install clean

help:
	@echo 'make demo         watch it work, against an emulated AWS (half a minute)'
	@echo 'make test         format, vet for four systems, all tests'
	@echo 'make conformance  the same work with the real AWS CLI and SDKs'
	@echo 'make lint         golangci-lint'
	@echo 'make bench        what it costs, beside what it is compared with'
	@echo 'make pictures     draw docs/pictures anew, by what kura shows'
	@echo 'make docs         write the generated pages of docs/ anew'
	@echo 'make build        bin/kura, static and stripped'
	@echo 'make install      program, manual and completion below PREFIX (/usr/local)'
	@echo 'make clean        remove what make has made'

demo:
	go run ./demo

pictures:
	go run ./demo/pictures

test:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted:" $$files; exit 1; }
	@for os in linux darwin windows freebsd; do \
		echo "go vet for $$os"; GOOS=$$os CGO_ENABLED=0 go vet ./... || exit 1; \
	done
	@test -n '$(RACE)' || echo 'no C compiler: the tests run without the race detector'
	go test $(RACE) ./...

conformance:
	conformance/run

lint: bin/golangci-lint
	bin/golangci-lint run ./...

# It has hundreds of dependencies, which are no business of go.mod's.
bin/golangci-lint: Makefile
	GOBIN=$(CURDIR)/bin GOFLAGS= go install $(GOLANGCI_LINT)
	@touch $@

# Fewer runs are quicker and less exact: make bench RUNS=100
RUNS = 500

bench:
	go run ./bench -runs $(RUNS)

docs:
	go test ./internal/cli -run TestDocs -update

build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags '-s -w' -o bin/kura ./cmd/kura

PREFIX = /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share

# Packagers set DESTDIR. What cannot run here, as it was built for another system,
# prints no completion: GOOS and GOARCH are to be unset.
install: build
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(SHARE)/man/man1' '$(SHARE)/bash-completion/completions' \
		'$(SHARE)/zsh/site-functions' '$(SHARE)/fish/vendor_completions.d'
	install -m 755 bin/kura '$(DESTDIR)$(PREFIX)/bin/kura'
	install -m 644 docs/man/*.1 '$(SHARE)/man/man1'
	bin/kura completion bash >'$(SHARE)/bash-completion/completions/kura'
	bin/kura completion zsh >'$(SHARE)/zsh/site-functions/_kura'
	bin/kura completion fish >'$(SHARE)/fish/vendor_completions.d/kura.fish'

clean:
	rm -rf bin
