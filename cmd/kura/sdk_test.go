package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// sdk is the command "sdk [COUNT]" of scripts: a program with the AWS SDK for Go.
// It prints where the SDK has found credentials, and the ARN that AWS knows them
// by; and it asks AWS so often, with credentials that it fetches each time.
func sdk() {
	count := 1
	if len(os.Args) > 1 {
		if _, err := fmt.Sscan(os.Args[1], &count); err != nil {
			sdkFailed(err)
		}
	}
	ctx := context.Background()
	for range count {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))
		if err != nil {
			sdkFailed(err)
		}
		got, err := cfg.Credentials.Retrieve(ctx)
		if err != nil {
			sdkFailed(err)
		}
		who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
		if err != nil {
			sdkFailed(err)
		}
		fmt.Println(got.Source, aws.ToString(who.Arn))
	}
}

func sdkFailed(err error) {
	fmt.Fprintln(os.Stderr, "sdk:", err)
	os.Exit(1)
}

// callerIdentity is the command "caller-identity": by the SDK for Go it says what
// "aws sts get-caller-identity" does.
func callerIdentity() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))
	if err != nil {
		sdkFailed(err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		sdkFailed(err)
	}
	fmt.Printf("{\n    \"UserId\": %q,\n    \"Account\": %q,\n    \"Arn\": %q\n}\n", aws.ToString(who.UserId), aws.ToString(who.Account), aws.ToString(who.Arn))
}
