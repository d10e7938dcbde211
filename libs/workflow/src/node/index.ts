export { CORE_FRONTEND_VERSION, CORE_VERSION, coreObjectInfo } from './core-catalogue.ts';
export { checkEndpoint, listEndpoints, loadEndpoint } from './endpoint-folder.ts';
export {
  type Environment,
  type EnvironmentKind,
  type EnvironmentOptions,
  readEnvironment,
  type UnpinnedCode,
  type UnpinnedPart,
} from './environment/environment.ts';
export {
  type PinnedCommit,
  type PinnedFile,
  type PinResolver,
  publicResolver,
  type PublicResolverOptions,
  type RegistryArchive,
} from './environment/pin-resolver.ts';
export { loadNodeMap, type LoadedNodeMap, type NodeMapOptions } from './manager-map.ts';
export { takeInventory } from './take-inventory.ts';
export { unpinnedModels, unpinnedModelsNote } from './unpinned-models.ts';
