import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.services.sts.StsClient;

/** Calls GetCallerIdentity as a program with the AWS SDK for Java does: see README.md. */
public class Caller {
    public static void main(String[] args) throws InterruptedException {
        if (args.length > 0 && args[0].equals("--version")) {
            System.out.println("AWS SDK for Java " + VersionInfo.SDK_VERSION);
            return;
        }
        long seconds = args.length > 0 ? Long.parseLong(args[0]) : 0;
        long end = System.nanoTime() + seconds * 1_000_000_000;
        try (DefaultCredentialsProvider provider = DefaultCredentialsProvider.builder().build();
                StsClient sts = StsClient.builder().credentialsProvider(provider).build()) {
            while (true) {
                System.out.println(call(provider, sts));
                if (System.nanoTime() >= end) {
                    return;
                }
                Thread.sleep(1000);
            }
        }
    }

    private static String call(DefaultCredentialsProvider provider, StsClient sts) {
        try {
            AwsCredentials credentials = provider.resolveCredentials();
            String arn = sts.getCallerIdentity().arn();
            return json("arn", arn, "key", credentials.accessKeyId(), "source", credentials.providerName().orElse(""));
        } catch (RuntimeException e) {
            return json("error", e.toString());
        }
    }

    private static String json(String... pairs) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < pairs.length; i += 2) {
            text.append(i == 0 ? "{" : ", ").append(quote(pairs[i])).append(": ").append(quote(pairs[i + 1]));
        }
        return text.append("}").toString();
    }

    private static String quote(String s) {
        return '"' + s.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + '"';
    }
}
