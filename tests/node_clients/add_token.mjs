// For `node --import`: each request to TOWER_SECRETS_ORIGIN carries the token in TOWER_SECRETS_TOKEN.
// The conformance suite has no option for it, and asks through fetch, undici and node:http.

import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { Agent, setGlobalDispatcher } from 'undici';

const origin = process.env.TOWER_SECRETS_ORIGIN;
const authorization = `Bearer ${process.env.TOWER_SECRETS_TOKEN}`;

const withToken = (headers) => {
  if (Array.isArray(headers)) return [...headers, 'authorization', authorization];
  const entries = headers?.[Symbol.iterator] ? [...headers] : Object.entries(headers ?? {});
  return Object.fromEntries([...entries, ['authorization', authorization]]);
};

setGlobalDispatcher(
  new Agent().compose((dispatch) => (options, handler) =>
    dispatch(
      String(options.origin) === origin ? { ...options, headers: withToken(options.headers) } : options,
      handler,
    ),
  ),
);

const plainRequest = http.request;
http.request = (...args) => {
  const request = plainRequest(...args);
  if (`${request.protocol}//${request.getHeader('host')}` === origin) {
    request.setHeader('authorization', authorization);
  }
  return request;
};
syncBuiltinESMExports();
