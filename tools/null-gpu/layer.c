/*
 * A Vulkan layer that lets Dawn compile for AMD GPUs that are not there, and tells what Mesa's compiler made of each pipeline.
 *
 * Mesa's RADV opens a device of any family without hardware (RADV_FORCE_FAMILY=navi31 …). Its compiler is the real one, but the device
 * has no memory that a host can see, for which Dawn would refuse it: this layer claims some. Nothing can be allocated, recorded or run:
 * the host makes a device and compute pipelines, and nothing else (src/engine/gpu/node/null-gpu.ts does so).
 *
 * Every pipeline overwrites the file $SGP_SAM_NULL_GPU: one line of JSON with the driver's statistics, then the machine code as text. So
 * pipelines are to be made one after the other.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXPORT __attribute__((visibility("default"))) VKAPI_ATTR
#define NEXT(function) ((PFN_##function)next_device(device, #function))

static VkInstance the_instance;
static char report_path[4096];
static PFN_vkGetInstanceProcAddr next_instance;
static PFN_vkGetDeviceProcAddr next_device;
static PFN_vkGetPhysicalDeviceMemoryProperties2 next_memory;

static VKAPI_ATTR void VKAPI_CALL memory_properties(VkPhysicalDevice gpu, VkPhysicalDeviceMemoryProperties2 *out) {
  next_memory(gpu, out);
  VkPhysicalDeviceMemoryProperties *memory = &out->memoryProperties;
  memory->memoryTypeCount = memory->memoryHeapCount = 1;
  memory->memoryTypes[0].heapIndex = 0;
  memory->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  memory->memoryHeaps[0].flags = VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
  memory->memoryHeaps[0].size = 16ull << 30;
}

static void write_statistics(FILE *file, VkDevice device, const VkPipelineExecutableInfoKHR *which) {
  uint32_t count = 0;
  NEXT(vkGetPipelineExecutableStatisticsKHR)(device, which, &count, NULL);
  VkPipelineExecutableStatisticKHR *all = calloc(count, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  NEXT(vkGetPipelineExecutableStatisticsKHR)(device, which, &count, all);
  for (uint32_t i = 0; i < count; i++) /* RADV's are all whole numbers */
    if (all[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR)
      fprintf(file, ",\"%s\":%llu", all[i].name, (unsigned long long)all[i].value.u64);
  free(all);
}

static void write_code(FILE *file, VkDevice device, const VkPipelineExecutableInfoKHR *which) {
  uint32_t count = 0;
  NEXT(vkGetPipelineExecutableInternalRepresentationsKHR)(device, which, &count, NULL);
  VkPipelineExecutableInternalRepresentationKHR *all = calloc(count, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
  NEXT(vkGetPipelineExecutableInternalRepresentationsKHR)(device, which, &count, all);
  for (uint32_t i = 0; i < count; i++) all[i].pData = calloc(1, all[i].dataSize + 1);
  NEXT(vkGetPipelineExecutableInternalRepresentationsKHR)(device, which, &count, all);
  for (uint32_t i = 0; i < count; i++) {
    fprintf(file, "---- %s\n%s\n", all[i].name, (const char *)all[i].pData);
    free(all[i].pData);
  }
  free(all);
}

static void report(VkDevice device, VkPipeline pipeline) {
  FILE *file = fopen(report_path, "w");
  if (!file) return;
  VkPipelineInfoKHR info = {VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, NULL, pipeline};
  VkPipelineExecutablePropertiesKHR one = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
  uint32_t count = 1; /* a compute pipeline is one executable */
  NEXT(vkGetPipelineExecutablePropertiesKHR)(device, &info, &count, &one);
  VkPipelineExecutableInfoKHR which = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, NULL, pipeline, 0};
  fprintf(file, "{\"subgroupSize\":%u", one.subgroupSize);
  write_statistics(file, device, &which);
  fprintf(file, "}\n");
  write_code(file, device, &which);
  fclose(file);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                               const VkComputePipelineCreateInfo *infos,
                                                               const VkAllocationCallbacks *allocator, VkPipeline *out) {
  VkResult worst = VK_SUCCESS;
  for (uint32_t i = 0; i < count; i++) {
    VkComputePipelineCreateInfo info = infos[i];
    info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
    /* A disassembler that is older than the GPU complains of every pipeline. */
    int errors = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    VkResult result = NEXT(vkCreateComputePipelines)(device, VK_NULL_HANDLE, 1, &info, allocator, &out[i]);
    dup2(errors, STDERR_FILENO);
    close(errors);
    close(nowhere);
    if (result == VK_SUCCESS) report(device, out[i]);
    else worst = result;
  }
  return worst;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator,
                                                      VkInstance *out) {
  VkLayerInstanceCreateInfo *link = (void *)info->pNext;
  while (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO) link = (void *)link->pNext;
  next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkResult result = ((PFN_vkCreateInstance)next_instance(NULL, "vkCreateInstance"))(info, allocator, out);
  if (result != VK_SUCCESS) return result;
  the_instance = *out;
  const char *path = getenv("SGP_SAM_NULL_GPU");
  snprintf(report_path, sizeof report_path, "%s", path ? path : "/dev/null");
  next_memory = (void *)next_instance(*out, "vkGetPhysicalDeviceMemoryProperties2");
  return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice gpu, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *out) {
  VkLayerDeviceCreateInfo *link = (void *)info->pNext;
  while (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO) link = (void *)link->pNext;
  next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR, (void *)info->pNext, VK_TRUE};
  VkDeviceCreateInfo ours = *info;
  const char **names = malloc((info->enabledExtensionCount + 1) * sizeof *names);
  memcpy(names, info->ppEnabledExtensionNames, info->enabledExtensionCount * sizeof *names);
  names[ours.enabledExtensionCount++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
  ours.ppEnabledExtensionNames = names;
  ours.pNext = &feature;
  VkResult result = ((PFN_vkCreateDevice)next_instance(the_instance, "vkCreateDevice"))(gpu, &ours, allocator, out);
  free(names);
  return result;
}

/* What the driver would do through functions that are not there: Dawn records a first command buffer with the device, waits in the end
   and takes all down. The device is left as it is. */
static const char *const left_undone[] = {"vkBeginCommandBuffer", "vkEndCommandBuffer",   "vkQueueSubmit",
                                          "vkQueueWaitIdle",      "vkFreeCommandBuffers", "vkDestroyCommandPool",
                                          "vkDestroyDevice"};
static VkResult nothing(void) { return VK_SUCCESS; }

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name) {
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_function;
  if (!strcmp(name, "vkCreateComputePipelines")) return (PFN_vkVoidFunction)create_compute_pipelines;
  for (size_t i = 0; i < sizeof left_undone / sizeof *left_undone; i++)
    if (!strcmp(name, left_undone[i])) return (PFN_vkVoidFunction)nothing;
  return strncmp(name, "vkCmd", 5) ? next_device(device, name) : (PFN_vkVoidFunction)nothing;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)instance_function;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_function;
  if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)create_instance;
  if (!strcmp(name, "vkCreateDevice")) return (PFN_vkVoidFunction)create_device;
  if (!strncmp(name, "vkGetPhysicalDeviceMemoryProperties2", 36)) return (PFN_vkVoidFunction)memory_properties;
  return instance && next_instance ? next_instance(instance, name) : NULL;
}

EXPORT VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version) {
  if (version->loaderLayerInterfaceVersion > 2) version->loaderLayerInterfaceVersion = 2;
  version->pfnGetInstanceProcAddr = instance_function;
  version->pfnGetDeviceProcAddr = device_function;
  version->pfnGetPhysicalDeviceProcAddr = NULL;
  return VK_SUCCESS;
}
