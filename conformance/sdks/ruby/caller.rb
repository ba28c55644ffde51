# Calls GetCallerIdentity as a program with the AWS SDK for Ruby does: see README.md.
require "aws-sdk-core"
require "json"

def call(sts)
  arn = sts.get_caller_identity.arn
  credentials = sts.config.credentials
  { arn: arn, key: credentials.credentials.access_key_id, source: credentials.class.name }
rescue StandardError => e
  { error: "#{e.class}: #{e.message}" }
end

if ARGV == ["--version"]
  puts "AWS SDK for Ruby #{Aws::CORE_GEM_VERSION}"
  exit
end
finish = Time.now + ARGV.fetch(0, "0").to_i
# Debian's is older than AWS_ENDPOINT_URL.
sts = Aws::STS::Client.new(endpoint: ENV.fetch("AWS_ENDPOINT_URL"))
loop do
  puts JSON.generate(call(sts))
  $stdout.flush
  break if Time.now >= finish
  sleep 1
end
