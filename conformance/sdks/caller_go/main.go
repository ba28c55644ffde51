// Caller_go calls GetCallerIdentity as a program with the AWS SDK for Go does: see
// conformance/README.md. It says its region and who it is; with a number it calls
// once, or for so many seconds, and says for each call who it is or why it failed;
// with --requests N it takes its credentials, says "ready", waits for a line, makes
// N requests, two in a second, and says what became of those that failed.
package main

import (
	"bufio"
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
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := sts.NewFromConfig(cfg)
	if len(args) == 0 {
		return look(ctx, cfg, client)
	}
	n, err := strconv.Atoi(args[len(args)-1])
	switch {
	case err != nil:
		return err
	case args[0] == "--requests":
		return stay(ctx, cfg, client, n)
	}
	return keepCalling(ctx, cfg, client, time.Duration(n)*time.Second)
}

func look(ctx context.Context, cfg aws.Config, client *sts.Client) error {
	seen, err := call(ctx, cfg, client)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"region": cfg.Region,
		"key":    seen["key"][:4],
		"arn":    seen["arn"],
	})
}

func keepCalling(ctx context.Context, cfg aws.Config, client *sts.Client, lasts time.Duration) error {
	end := time.Now().Add(lasts)
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

func stay(ctx context.Context, cfg aws.Config, client *sts.Client, requests int) error {
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	failed := []string{}
	for range requests {
		// Credentials expire at whole seconds: keep away from them.
		const half = time.Second / 2
		time.Sleep(half - (time.Duration(time.Now().UnixNano())+half/2)%half)
		if _, err := client.GetCallerIdentity(ctx, nil); err != nil {
			failed = append(failed, err.Error())
		}
	}
	return json.NewEncoder(os.Stdout).Encode(failed)
}
