/** The oldest Node that every dependency runs on (undici 8 and changesets 3 crash on 20). */
export const MINIMUM_NODE = { major: 22, minor: 19 } as const;

/** True when `version` (as in `process.versions.node`, e.g. "24.21.0") is new enough. */
export function isSupportedNode(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > MINIMUM_NODE.major || (major === MINIMUM_NODE.major && minor >= MINIMUM_NODE.minor);
}

/** What to tell somebody whose Node is too old, with what to do about it. */
export function unsupportedNodeMessage(version: string, executable: string): string {
  return [
    `Node ${version} (${executable}) is too old: ${MINIMUM_NODE.major}.${MINIMUM_NODE.minor} or newer is needed.`,
    'Run the command through npm (`npm start`, `npm test`, `npx nx …`): `npm ci` puts Node 24 into node_modules/.bin on Linux.',
    'On another system, or after `npm ci --omit=optional`, install Node 24 (see .nvmrc).',
  ].join('\n');
}
