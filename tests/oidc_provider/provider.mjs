// An OpenID provider on loopback whose keys rotate: oidc-provider, made anew for each set of keys as
// a restart makes it, behind one port.
//
// It listens on PORT, or on a free one, and prints `issuer URL`. Each line on stdin is an order: `add` makes a new key of each algorithm, which
// sign from then on, `withdraw` forgets all but the newest; each is answered with `keys KID..`.
// It ends with stdin.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const kinds = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

let generation = 0;
let keys = [];
let handle;

function newKeys() {
  generation += 1;
  return Object.entries(kinds).map(([alg, [type, options]]) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${generation}` };
  });
}

// A resource ends with the algorithm that its tokens are to be signed with.
function resourceServer(_, resource) {
  const alg = resource.split('/').pop();
  return {
    audience: 'https://mcp.example',
    scope: 'tools:read',
    accessTokenFormat: 'jwt',
    accessTokenTTL: 300,
    jwt: { sign: { alg } },
  };
}

function serve(issuer) {
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'client',
        client_secret: 'the secret of a test',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    cookies: { keys: ['of a test'] },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(kinds) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    },
    jwks: { keys },
    scopes: ['tools:read'],
  });
  provider.on('server_error', (_, error) => console.error(error));
  handle = provider.callback();
}

const server = createServer((request, response) => handle(request, response));
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  keys = newKeys();
  serve(issuer);
  console.log(`issuer ${issuer}`);

  const orders = createInterface({ input: process.stdin });
  orders.on('line', (order) => {
    // What stands first signs.
    keys = order === 'add' ? [...newKeys(), ...keys] : keys.slice(0, 4);
    serve(issuer);
    console.log(`keys ${keys.map((key) => key.kid).join(' ')}`);
  });
  orders.on('close', () => process.exit(0));
});
