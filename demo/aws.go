package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// emulatedAWS is the control side of the program fakeaws.
type emulatedAWS struct{ url string }

// A call is one that the emulated AWS has received.
type call struct{ Service, Op, KeyID string }

// calls returns the calls so far.
func (a *emulatedAWS) calls(ctx context.Context) ([]call, error) {
	var c []call
	data, err := a.get(ctx, "calls")
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	return c, err
}

// secrets returns every secret that it knows or has issued.
func (a *emulatedAWS) secrets(ctx context.Context) ([]string, error) {
	var s []string
	data, err := a.get(ctx, "secrets")
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// code returns what the MFA device shows.
func (a *emulatedAWS) code(ctx context.Context, serial string) (string, error) {
	data, err := a.get(ctx, "code?serial="+url.QueryEscape(serial))
	return strings.TrimSpace(string(data)), err
}

func (a *emulatedAWS) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/_fakeaws/"+path, nil)
	if err != nil {
		return nil, err
	}
	return fetch(req)
}

func fetch(req *http.Request) ([]byte, error) {
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", req.URL.Path, resp.Status)
	}
	return data, err
}

// awsCLI stands in for the AWS CLI where there is none. It knows "s3 ls".
func awsCLI(ctx context.Context, args []string) error {
	if !slices.Equal(args, []string{"s3", "ls"}) {
		return errors.New("this stand-in only knows: aws s3 ls")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("AWS_ENDPOINT_URL")+"/", nil)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(nil)
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	credentials := aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
	}
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hash, "s3", os.Getenv("AWS_REGION"), time.Now()); err != nil {
		return err
	}
	data, err := fetch(req)
	if err != nil {
		return err
	}
	var list struct {
		Buckets []struct {
			Name         string
			CreationDate time.Time
		} `xml:"Buckets>Bucket"`
	}
	if err := xml.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, b := range list.Buckets {
		fmt.Println(b.CreationDate.Local().Format(time.DateTime), b.Name)
	}
	return nil
}
