// Caller_go calls GetCallerIdentity as a program with the AWS SDK for Go does: see
// conformance/README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"--version"}) {
		fmt.Println("AWS SDK for Go v2", aws.SDKVersion)
		return
	}
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	seconds := 0
	if len(args) > 0 {
		var err error
		if seconds, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := sts.NewFromConfig(cfg)
	out := json.NewEncoder(os.Stdout)
	for {
		seen, err := call(ctx, cfg, client)
		if err != nil {
			seen = map[string]string{"error": err.Error()}
		}
		if err := out.Encode(seen); err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return nil
		}
		time.Sleep(time.Second)
	}
}

func call(ctx context.Context, cfg aws.Config, client *sts.Client) (map[string]string, error) {
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	me, err := client.GetCallerIdentity(ctx, nil)
	if err != nil {
		return nil, err
	}
	return map[string]string{"arn": *me.Arn, "key": credentials.AccessKeyID, "source": credentials.Source}, nil
}
