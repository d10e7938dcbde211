export { CORE_VERSION, coreObjectInfo } from './core-catalogue.ts';
export { checkEndpoint, listEndpoints, loadEndpoint } from './endpoint-folder.ts';
