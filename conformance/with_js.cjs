// What a program with the AWS SDK for JavaScript finds: its region and who it
// is. It is CommonJS since modules of the other kind ignore NODE_PATH.
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");

(async () => {
  const credentials = fromNodeProviderChain();
  const sts = new STSClient({ credentials });
  const region = await sts.config.region();
  const key = (await credentials()).accessKeyId.slice(0, 4);
  const arn = (await sts.send(new GetCallerIdentityCommand({}))).Arn;
  console.log(JSON.stringify({ region, key, arn }));
})();
