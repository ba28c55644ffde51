package console

import (
	"slices"
	"strings"
)

// A Service is a service of AWS by its short name, and the path of its page in
// the console.
type Service struct{ Name, Path string }

// ServicePath returns the path of a service's page.
func ServicePath(name string) (path string, ok bool) {
	all := Services()
	i, ok := slices.BinarySearchFunc(all, strings.ToLower(name), func(s Service, name string) int { return strings.Compare(s.Name, name) })
	if !ok {
		return "", false
	}
	return all[i].Path, true
}

// Services returns the services that have a short name here, in order. The names
// are those that the AWS CLI has for them, and some that people say.
func Services() []Service {
	return []Service{
		{"acm", "acm/home"},
		{"amplify", "amplify/home"},
		{"apigateway", "apigateway/home"},
		{"appconfig", "systems-manager/appconfig"},
		{"apprunner", "apprunner/home"},
		{"appsync", "appsync/home"},
		{"athena", "athena/home"},
		{"autoscaling", "ec2/home#AutoScalingGroups:"},
		{"backup", "backup/home"},
		{"batch", "batch/home"},
		{"bedrock", "bedrock/home"},
		{"billing", "billing/home"},
		{"budgets", "billing/home#/budgets"},
		{"cfn", "cloudformation/home"},
		{"cloudformation", "cloudformation/home"},
		{"cloudfront", "cloudfront/v4/home"},
		{"cloudshell", "cloudshell/home"},
		{"cloudtrail", "cloudtrailv2/home"},
		{"cloudwatch", "cloudwatch/home"},
		{"codeartifact", "codesuite/codeartifact/start"},
		{"codebuild", "codesuite/codebuild/projects"},
		{"codecommit", "codesuite/codecommit/repositories"},
		{"codedeploy", "codesuite/codedeploy/applications"},
		{"codepipeline", "codesuite/codepipeline/pipelines"},
		{"cognito", "cognito/v2/home"},
		{"config", "config/home"},
		{"controltower", "controltower/home"},
		{"cost", "cost-management/home"},
		{"dms", "dms/v2/home"},
		{"docdb", "docdb/home"},
		{"dynamodb", "dynamodbv2/home"},
		{"ec2", "ec2/home"},
		{"ecr", "ecr/repositories"},
		{"ecs", "ecs/v2/clusters"},
		{"efs", "efs/home"},
		{"eks", "eks/home"},
		{"elasticache", "elasticache/home"},
		{"elasticbeanstalk", "elasticbeanstalk/home"},
		{"elb", "ec2/home#LoadBalancers:"},
		{"emr", "emr/home"},
		{"eventbridge", "events/home"},
		{"fsx", "fsx/home"},
		{"glue", "glue/home"},
		{"guardduty", "guardduty/home"},
		{"health", "health/home"},
		{"iam", "iam/home"},
		{"identitycenter", "singlesignon/home"},
		{"inspector", "inspector/v2/home"},
		{"kinesis", "kinesis/home"},
		{"kms", "kms/home"},
		{"lambda", "lambda/home"},
		{"logs", "cloudwatch/home#logsV2:log-groups"},
		{"mq", "amazon-mq/home"},
		{"msk", "msk/home"},
		{"neptune", "neptune/home"},
		{"opensearch", "aos/home"},
		{"organizations", "organizations/v2/home"},
		{"quotas", "servicequotas/home"},
		{"rds", "rds/home"},
		{"redshift", "redshiftv2/home"},
		{"route53", "route53/v2/home"},
		{"s3", "s3/home"},
		{"sagemaker", "sagemaker/home"},
		{"secretsmanager", "secretsmanager/home"},
		{"securityhub", "securityhub/home"},
		{"ses", "ses/home"},
		{"sfn", "states/home"},
		{"sns", "sns/v3/home"},
		{"sqs", "sqs/v3/home"},
		{"ssm", "systems-manager/home"},
		{"support", "support/home"},
		{"trustedadvisor", "trustedadvisor/home"},
		{"vpc", "vpcconsole/home"},
		{"waf", "wafv2/homev2"},
		{"xray", "xray/home"},
	}
}
