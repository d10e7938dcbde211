/**
 * A stand-in as a process of its own, so that its work is not counted as the client's. Arguments: which one, and by how
 * many milliseconds its answers are late. Prints its address, and ends with its standard input.
 */
import process from 'node:process';

import {
  comfyApiStandIn,
  comfyuiStandIn,
  greyPng,
  type HttpStandIn,
  runpodStandIn,
} from '../src/testing/index.ts';
import { distant } from './distant.ts';

/** Credentials that every stand-in takes. */
const TOKEN = 'bench';
/** Milliseconds after which what was received is forgotten: nobody asks for it here. */
const FORGET_MS = 200;

const picture = greyPng(8, 8);
const STAND_INS: Readonly<Record<string, () => Promise<HttpStandIn>>> = {
  'comfy-api': () => comfyApiStandIn({ token: TOKEN, picture }),
  comfyui: () => comfyuiStandIn({ picture }),
  runpod: () => runpodStandIn({ apiKey: TOKEN, picture }),
};

const [, , kind = '', delayMs = '0'] = process.argv;
const standIn = await STAND_INS[kind]?.();
if (standIn === undefined) throw new Error(`There is no stand-in "${kind}".`);
setInterval(() => (standIn.received.length = 0), FORGET_MS);
console.log(delayMs === '0' ? standIn.url : await distant(standIn.url, Number(delayMs)));
process.stdin.on('end', () => process.exit());
process.stdin.resume();
