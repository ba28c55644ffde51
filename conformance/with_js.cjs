// What a program with the AWS SDK for JavaScript finds: its region and who it
// is. With a number it stays: it takes its credentials, says "ready", waits for a
// line, makes so many requests, two in a second, and prints what became of those
// that failed. It is CommonJS since modules of the other kind ignore NODE_PATH.
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");

const credentials = fromNodeProviderChain();
const sts = new STSClient({ credentials });

async function stay(requests) {
  await credentials();
  console.log("ready");
  await new Promise((line) => process.stdin.once("data", line));
  process.stdin.destroy();
  const failed = [];
  for (let i = 0; i < requests; i++) {
    // Credentials expire at whole seconds: keep away from them.
    await new Promise((time) => setTimeout(time, 500 - ((Date.now() + 250) % 500)));
    await sts.send(new GetCallerIdentityCommand({})).catch((e) => failed.push(e.message));
  }
  console.log(JSON.stringify(failed));
}

async function look() {
  const region = await sts.config.region();
  const key = (await credentials()).accessKeyId.slice(0, 4);
  const arn = (await sts.send(new GetCallerIdentityCommand({}))).Arn;
  console.log(JSON.stringify({ region, key, arn }));
}

process.argv[2] ? stay(Number(process.argv[2])) : look();
