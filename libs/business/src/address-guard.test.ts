import { BlockList } from 'node:net';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isPublicAddress } from './address-guard.ts';
import { createHttpClient } from './http.ts';
import { httpStandIn } from './testing/http-stand-in.ts';

const signal = AbortSignal.timeout(120_000);

describe('public addresses', () => {
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.255.255',
    '172.32.0.1',
    '192.167.0.1',
    '2606:4700::1111',
    '[2a00:1450::1]',
  ])('are such as %s', (address) => expect(isPublicAddress(address)).toBe(true));

  it.each([
    ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '0.0.0.0'],
    ...[
      '100.64.0.1',
      '192.0.0.1',
      '198.18.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '::1',
      '::',
      'fe80::1',
      'fe80::1%eth0',
    ],
    ...[
      'fc00::1',
      'fd12::1',
      'ff02::1',
      '::ffff:127.0.0.1',
      '::ffff:8.8.8.8',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '2001::1',
    ],
    ...['2001:db8::1', 'fec0::1', 'localhost', '', '1.1.1', 'example.org'],
  ])('are not such as %s', (address) => expect(isPublicAddress(address)).toBe(false));

  it('are never in a private IPv4 range, however they are written', () => {
    const ranges = [
      ['10.0.0.0', 8],
      ['127.0.0.0', 8],
      ['169.254.0.0', 16],
      ['172.16.0.0', 12],
      ['192.168.0.0', 16],
    ] as const;
    const oracle = new BlockList();
    for (const [network, prefix] of ranges) oracle.addSubnet(network, prefix);
    const octet = fc.nat(255);
    const near = fc.constantFrom(10, 127, 169, 172, 192);
    fc.assert(
      fc.property(fc.oneof(near, octet), octet, octet, octet, (...parts) => {
        const address = parts.join('.');
        if (oracle.check(address)) expect(isPublicAddress(address)).toBe(false);
        expect(isPublicAddress(`::ffff:${address}`)).toBe(false);
        // What a URL makes of other ways to write it.
        const { hostname } = new URL(`http://0x${Buffer.from(parts).toString('hex')}/`);
        expect(hostname).toBe(address);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a client for public hosts', () => {
  it.each(['127.0.0.1', 'localhost', 'some.localhost', '[::1]', '2130706433', '0x7f.1'])(
    'does not connect to %s',
    async (host) => {
      await using standIn = await httpStandIn((_request, response) => response.end());
      const client = createHttpClient({ network: 'public' });
      const url = new URL(`http://${host}:${new URL(standIn.url).port}/`);
      await expect(client.send({ method: 'GET', url, signal })).rejects.toMatchObject({
        code: 'untrusted_url',
      });
      expect(standIn.received).toEqual([]);
      await client.close();
    },
  );

  it('judges the address that it connects to: a name that leads here is of no use', async () => {
    await using standIn = await httpStandIn((_request, response) => response.end());
    const asked: string[] = [];
    const answers = ['93.184.216.34', '127.0.0.1'];
    const client = createHttpClient({
      network: 'public',
      lookup: (hostname, _options, callback) => {
        // The first answer is for whoever looks before connecting; this client does not.
        asked.push(hostname);
        callback(null, [{ address: answers.at(asked.length === 1 ? 1 : 0) ?? '', family: 4 }]);
      },
    });
    const url = new URL(`http://rebinding.example:${new URL(standIn.url).port}/`);
    await expect(client.send({ method: 'GET', url, signal })).rejects.toMatchObject({
      code: 'untrusted_url',
    });
    expect(asked).toEqual(['rebinding.example']);
    expect(standIn.received).toEqual([]);
    await client.close();
  });
});
