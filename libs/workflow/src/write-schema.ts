/** Writes schema/endpoint.schema.json from the zod schema; the README says how to run it. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { endpointJsonSchema } from './endpoint-config.ts';

const file = path.join(import.meta.dirname, '../schema/endpoint.schema.json');
writeFileSync(file, `${JSON.stringify(endpointJsonSchema(), null, 2)}\n`);
