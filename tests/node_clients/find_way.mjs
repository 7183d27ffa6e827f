// A stock MCP client (TypeScript SDK) that knows a server's URL, and finds out by itself where tokens
// are to be had.
//
// usage: node find_way.mjs URL GRANT      GRANT: authorization_code, or client_credentials with the
//                                         client's id and secret in CLIENT_ID and CLIENT_SECRET
//
// Each line on stdin is the name of a tool, which it calls. It answers each with a line of JSON: what
// the tool gave. Anything that goes wrong ends it with a stack trace and a non-zero code.

import { createInterface } from 'node:readline';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, grant] = process.argv.slice(2);

// Nobody sits at a browser: the page that it would be sent to sends it back at once.
class Person {
  redirectUrl = 'http://127.0.0.1:1/callback';
  clientMetadata = {
    client_name: 'a test',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  clientInformation = () => this.client;
  saveClientInformation = (client) => void (this.client = client);
  tokens = () => this.saved;
  saveTokens = (tokens) => void (this.saved = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);

  async redirectToAuthorization(page) {
    const answer = await fetch(page, { redirect: 'manual' });
    this.code = new URL(answer.headers.get('location')).searchParams.get('code');
  }
}

const service = () =>
  new ClientCredentialsProvider({
    clientId: process.env.CLIENT_ID,
    clientSecret: process.env.CLIENT_SECRET,
    expectedIssuer: process.env.ISSUER,
  });

const authProvider = grant === 'client_credentials' ? service() : new Person();
const newTransport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider });

const client = new Client({ name: 'a test', version: '0' });
let transport = newTransport();

// The SDK leaves to its user what follows after the person's answer.
async function authorized(attempt, before = () => {}) {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || !authProvider.code) throw error;
    await transport.finishAuth(authProvider.code);
    authProvider.code = undefined;
    before();
    return await attempt();
  }
}

await authorized(
  () => client.connect(transport),
  () => (transport = newTransport()),
);
for await (const tool of createInterface({ input: process.stdin })) {
  const result = await authorized(() => client.callTool({ name: tool, arguments: {} }));
  console.log(JSON.stringify(result));
}
await client.close();
