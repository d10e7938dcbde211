import { type Inventory, inventoryOf, type InventoryOptions } from '../inventory/inventory.ts';
import { CORE_FRONTEND_VERSION, CORE_VERSION, coreObjectInfo } from './core-catalogue.ts';

/**
 * Takes stock of a workflow in either format with the built-in catalogue: what {@link inventoryOf} says.
 *
 * @throws {WorkflowError} `invalid_workflow`.
 */
export function takeInventory(
  value: unknown,
  options: Omit<InventoryOptions, 'core' | 'coreVersion' | 'coreFrontendVersion'> = {},
): Inventory {
  return inventoryOf(value, {
    core: coreObjectInfo(),
    coreVersion: CORE_VERSION,
    coreFrontendVersion: CORE_FRONTEND_VERSION,
    ...options,
  });
}
