/** `npm run schema`: writes schema/migration.schema.json from the zod schema. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { migrationJsonSchema } from './migration-file.ts';

const file = path.join(import.meta.dirname, '../../schema/migration.schema.json');
writeFileSync(file, `${JSON.stringify(migrationJsonSchema(), null, 2)}\n`);
